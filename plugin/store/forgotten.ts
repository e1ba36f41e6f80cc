import { script } from './lua.ts'
import { ID_LENGTH } from './record.ts'

/**
 * The beginning of the message that tells other processes that a key was forgotten. It is followed by the record's id.
 * The channel is the one that wakes waiters, where a message is only an id. A process of an earlier release takes this
 * message for the id of a record that nobody waits for, since no id contains a colon, and ignores it.
 */
const FORGOTTEN = 'forgotten:'

/**
 * Erase the record, whatever its state, and tell all processes. If an access list forbids PUBLISH, the record is erased
 * all the same.
 *
 * KEYS[1] the record, whose name ends with its id
 * ARGV[1] the channel
 * Returns 1, or 0 if there was no record
 */
export const forget = script(`
  local erased = redis.call('DEL', KEYS[1])
  redis.pcall('PUBLISH', ARGV[1], '${FORGOTTEN}' .. string.sub(KEYS[1], -${ID_LENGTH}))
  return erased
`)

/** The id of the record that a message says was forgotten; `null` if the message is another one. */
export function forgottenId (message: string): string | null {
  return message.startsWith(FORGOTTEN) ? message.slice(FORGOTTEN.length) : null
}
