/*
 * How an idempotency key is written in a header. The server and the client share this grammar.
 */

/**
 * Reads the key from a header's value. The value is a String as defined by RFC 9651, whose parameters are ignored, or a
 * bare token. `"a"` and `a` are the same key.
 * @returns `undefined` if the value is neither
 */
export function parseKey (value: string): string | undefined {
  if (!value.includes('"')) return value
  const string = /^ *"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)" *(?:;.*)?$/.exec(value)
  return string?.[1]?.replace(/\\(.)/g, '$1')
}

/** Writes a printable key as a header's value: a String as defined by RFC 9651. */
export function writeKey (key: string): string {
  return `"${key.replace(/["\\]/g, '\\$&')}"`
}

/** Whether an RFC 9651 String can hold the key: 1 or more printable ASCII characters, which include the space. */
export function isPrintable (key: unknown): key is string {
  return typeof key === 'string' && /^[\x20-\x7e]+$/.test(key)
}

/** Whether a key is valid unless the option `validateKey` decides otherwise: 1 to 255 visible ASCII characters. */
export function isVisibleAscii (key: string): boolean {
  return /^[\x21-\x7e]{1,255}$/.test(key)
}
