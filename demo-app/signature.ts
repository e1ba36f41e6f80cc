import { verify as rsaVerify } from 'node:crypto'

/**
 * Whether the payment provider signed these fields of a notification, by its documentation: RSA-SHA256 over the fields
 * that are not empty, without the signature's own, as `name=value` pairs that are sorted by name and joined by `&`.
 */
export function isSigned (fields: Record<string, string>, publicKey: string): boolean {
  const { sign_type: type, sign: signature, ...signed } = fields
  if (type !== 'RSA2' || signature === undefined) return false
  const pairs = Object.keys(signed).sort().flatMap(name => signed[name] === '' ? [] : [`${name}=${signed[name]}`])
  return rsaVerify('RSA-SHA256', Buffer.from(pairs.join('&')), publicKey, Buffer.from(signature, 'base64'))
}
