import { sha256 } from './sha256.ts'

/**
 * The name of a key's record: of fixed length, and with nothing of the customer in it that can be read. The length in
 * front keeps pairs apart that would join to the same text (scope `a` and key `bc`, scope `ab` and key `c`).
 */
export function recordId (scope: string, key: string): string {
  return sha256(`${scope.length}:${scope}:${key}`)
}
