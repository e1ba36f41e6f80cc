import { inspect } from 'node:util'

/** What Node.js and JSON show: only the length. */
function shown (this: Buffer): string {
  return `[${this.length} bytes]`
}

/** The prototype of a Buffer that does not show its content. */
const OPAQUE = Object.create(Buffer.prototype as object, Object.fromEntries(
  ['toString', 'toLocaleString', 'toJSON', inspect.custom].map(name => [name, { value: shown }]))) as Buffer

/**
 * Makes bytes that clients send unchanged, but that show their content to nobody else. Tracers convert the arguments of
 * each command to text (OpenTelemetry and Sentry export all arguments of EVALSHA), and clients attach the arguments to
 * errors.
 * @param value must belong to the caller: a Buffer is changed in place
 */
export function opaque (value: string | Buffer): Buffer {
  return Object.setPrototypeOf(typeof value === 'string' ? Buffer.from(value) : value, OPAQUE) as Buffer
}
