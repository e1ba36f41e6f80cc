import { inspect } from 'node:util'

/** As Node.js and JSON show it: how long it is. */
function shown (this: Buffer): string {
  return `[${this.length} bytes]`
}

/** A Buffer in all but what it says of itself. */
const OPAQUE = Object.create(Buffer.prototype as object, Object.fromEntries(
  ['toString', 'toLocaleString', 'toJSON', inspect.custom].map(name => [name, { value: shown }]))) as Buffer

/**
 * Bytes that go over the wire as they are, and show themselves to nobody else. Tracers make text of the arguments of each
 * command (OpenTelemetry and Sentry export all those of EVALSHA), and clients hang them on errors.
 * @param value the caller's own: if bytes, they are changed into such
 */
export function opaque (value: string | Buffer): Buffer {
  return Object.setPrototypeOf(typeof value === 'string' ? Buffer.from(value) : value, OPAQUE) as Buffer
}
