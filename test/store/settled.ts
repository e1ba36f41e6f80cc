import { encodeSettled } from '../../plugin/store/record.ts'

/** A settled record as Redis gets it: text, or bytes if the body is bytes. */
export function settledRecord (...args: Parameters<typeof encodeSettled>): string | Buffer {
  const record = encodeSettled(...args)
  if (typeof record === 'string') return record
  const [head, body] = record
  return typeof body === 'string' ? head + body : Buffer.concat([Buffer.from(head), body])
}
