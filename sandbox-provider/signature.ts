import { generateKeyPairSync, sign as rsaSign } from 'node:crypto'

export interface Keys {
  /** PKCS #8, in PEM. */
  privateKey: string
  /** SPKI, in PEM. */
  publicKey: string
}

/** @param modulusLength in bits */
export function generateKeys (modulusLength = 2048): Keys {
  return generateKeyPairSync('rsa', {
    modulusLength,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' }
  })
}

/** The signature of a notification: RSA-SHA256 over all fields except the signature's own, in base64. */
export function sign (fields: Record<string, string>, privateKey: string): string {
  return rsaSign('RSA-SHA256', Buffer.from(signedText(fields)), privateKey).toString('base64')
}

/** As the large wallets do it: `name=value` pairs without the empty ones, sorted by name and joined by `&`. */
function signedText (fields: Record<string, string>): string {
  return Object.entries(fields)
    .filter(([name, value]) => name !== 'sign' && name !== 'sign_type' && value !== '')
    .sort(([a], [b]) => a < b ? -1 : 1)
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}
