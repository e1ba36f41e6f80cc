/**
 * What the error of a try means.
 * - `passing`: another try may get an answer.
 * - `unsent`: no other try will get an answer, and the request was not sent.
 * - `unknown`: no other try will get an answer, and the request may have arrived.
 */
export type Failure = 'passing' | 'unsent' | 'unknown'

/** One side refused the connection before the request was sent, such as a client that does not trust the server. */
const TLS = [
  // The codes of OpenSSL for a certificate that cannot be trusted.
  'CERT_CHAIN_TOO_LONG', 'CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID', 'CERT_REJECTED', 'CERT_REVOKED',
  'CERT_SIGNATURE_FAILURE', 'CERT_UNTRUSTED', 'CRL_HAS_EXPIRED', 'CRL_NOT_YET_VALID', 'CRL_SIGNATURE_FAILURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT', 'ERROR_IN_CERT_NOT_AFTER_FIELD', 'ERROR_IN_CERT_NOT_BEFORE_FIELD',
  'HOSTNAME_MISMATCH', 'INVALID_CA', 'INVALID_PURPOSE', 'PATH_LENGTH_EXCEEDED', 'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY', 'UNABLE_TO_DECRYPT_CERT_SIGNATURE', 'UNABLE_TO_GET_CRL',
  'UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID', 'ERR_TLS_INVALID_PROTOCOL_VERSION', 'ERR_TLS_PROTOCOL_VERSION_CONFLICT'
]

/** Handshakes that always fail: no common version, no TLS on that port, a client's certificate that is refused. */
const HANDSHAKE = new RegExp(`^ERR_SSL_(${[
  'WRONG_VERSION_NUMBER', 'PACKET_LENGTH_TOO_LONG', 'HTTP_REQUEST', 'UNSUPPORTED_PROTOCOL', 'NO_PROTOCOLS_AVAILABLE',
  'TLSV1_UNRECOGNIZED_NAME',
  '.*_ALERT_(HANDSHAKE_FAILURE|PROTOCOL_VERSION|INSUFFICIENT_SECURITY|NO_APPLICATION_PROTOCOL)',
  '.*_ALERT_(UNKNOWN_CA|ACCESS_DENIED|(BAD|UNSUPPORTED)_CERTIFICATE|CERTIFICATE_[A-Z]+)'
].join('|')})$`)

/** The codes of undici, the messages of Node.js' fetch, which has no codes, and the `type` of node-fetch. */
const UNSENT = new Set([
  ...TLS,
  'UND_ERR_CLOSED', 'UND_ERR_INVALID_ARG', 'UND_ERR_MAX_ORIGINS_REACHED', 'UND_ERR_NOT_SUPPORTED',
  'bad port', 'unknown scheme'
])

/** Answers that the client refuses, redirections that it cannot follow, and clients that were closed meanwhile. */
const UNKNOWN = new Set([
  'UND_ERR_ABORT', 'UND_ERR_ABORTED', 'UND_ERR_DESTROYED', 'UND_ERR_HEADERS_OVERFLOW', 'UND_ERR_INVALID_RETURN_VALUE',
  'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH', 'UND_ERR_RES_EXCEEDED_MAX_SIZE', 'UND_ERR_RESPONSE',
  'URL scheme must be a HTTP(S) scheme', 'redirect count exceeded', 'proxy authentication required',
  'REDIRECTED', 'max-redirect', 'invalid-redirect', 'unsupported-redirect'
])

/**
 * Tells for both clients whether another try can succeed. Browsers do not explain their errors, so these count as
 * `passing`.
 */
export function failureOf (error: unknown): Failure {
  for (const { code, type, message } of chainOf(error)) {
    for (const name of [code, type, message]) {
      if (typeof name !== 'string') continue
      if (UNSENT.has(name) || HANDSHAKE.test(name)) return 'unsent'
      if (UNKNOWN.has(name)) return 'unknown'
    }
  }
  return 'passing'
}

/** The reason of an error, for people: the message of fetch itself says only that it failed. */
export function reasonOf (error: unknown): string {
  const { code, message } = chainOf(error).at(-1) ?? {}
  return [code, message].filter(part => typeof part === 'string' && part !== '').join(': ') || String(error)
}

interface Facts {
  code?: unknown
  type?: unknown
  message?: unknown
}

/** The error, its cause, and so on. */
function chainOf (error: unknown): Facts[] {
  const chain: Facts[] = []
  for (let next = error; next instanceof Error && chain.length < 10; next = next.cause) chain.push(next)
  return chain
}
