import { createHash } from 'node:crypto'
import { ID_LENGTH, OFFSET, OWNER_LEFT, SETTLED_OFFSET, STATE } from './record.ts'

/** A Lua script and its SHA-1, by which EVALSHA calls it. */
export interface Script {
  lua: string
  sha: string
}

export function script (lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') }
}

/** The Lua expression of a part of a record. `string.sub` counts from 1 and includes the end. */
export function field (value: string, from: number, to: number): string {
  return `string.sub(${value}, ${from + 1}, ${to})`
}

/** The Lua expression of a hexadecimal number in a record. */
function number (value: string, from: number, to: number): string {
  return `tonumber(${field(value, from, to)}, 16)`
}

export const version = (value: string): string => field(value, 0, OFFSET.state)
export const fingerprint = (value: string): string => field(value, OFFSET.fingerprint, OFFSET.attempt)
export const attempt = (value: string): string => number(value, OFFSET.attempt, OFFSET.owner)
export const owner = (value: string): string => field(value, OFFSET.owner, OFFSET.lease)
export const lease = (value: string): string => number(value, OFFSET.lease, OFFSET.timeToLive)
export const timeToLive = (value: string): string => number(value, OFFSET.timeToLive, OFFSET.runningEnd)
export const ownerLeft = (value: string): string =>
  `${field(value, OFFSET.runningEnd, OFFSET.runningEnd + 1)} == '${OWNER_LEFT}'`

/** The first word of the error reply to a record that cannot be read. */
export const UNREADABLE = 'IDEMPOTENCY'

const ANY_FINGERPRINT = '.'.repeat(OFFSET.attempt - OFFSET.fingerprint)
const ANY_ATTEMPT = '%x'.repeat(OFFSET.owner - OFFSET.attempt)
const ANY_OWNER = '.'.repeat(OFFSET.lease - OFFSET.owner)
const ANY_TIMES = '%x'.repeat(OFFSET.runningEnd - OFFSET.lease)
const ANY_REQUEST = ANY_FINGERPRINT + ANY_ATTEMPT
const OWNED = `^[12][${STATE.running}${STATE.awaited}${STATE.released}]${ANY_REQUEST}${ANY_OWNER}${ANY_TIMES}`
const PLAIN = `[${STATE.settled}${STATE.settledWithoutResponse}]`
const COMPRESSED = `[${STATE.settledBrotli}${STATE.settledZstd}]`
const ANY_BEGINNING = '.'.repeat(SETTLED_OFFSET.statusCode - SETTLED_OFFSET.fingerprint)
const SETTLED = [
  `^1${PLAIN}${ANY_REQUEST}%d%d%d\\n`,
  `^2${PLAIN}${ANY_BEGINNING}%d%d%d%x+\\n`,
  `^2${COMPRESSED}${ANY_BEGINNING}%d%d%d%x+,%x+\\n`
]

/**
 * Reads the variables `record` and `state`: false and nil if there is no record. If the record cannot be read, the
 * script ends here and leaves the record as it is.
 */
export const READ = `
  local record = redis.call('GET', KEYS[1])
  local state
  if record then
    if not (${[OWNED, ...SETTLED].map(pattern => `string.find(record, '${pattern}')`).join(' or ')}) then
      return redis.error_reply('${UNREADABLE} the stored value is not a record of a version that can be read')
    end
    state = ${field('record', OFFSET.state, OFFSET.fingerprint)}
  end`

function isOneOf (...states: string[]): string {
  return `(${states.map(one => `state == '${one}'`).join(' or ')})`
}

export const isRunning = isOneOf(STATE.running, STATE.awaited)
export const isSettled =
  isOneOf(STATE.settled, STATE.settledWithoutResponse, STATE.settledBrotli, STATE.settledZstd)

/** The beginning of the fingerprint and the attempt of a settled record: two values, both nil in the other version. */
const requestOfVersion1 = (value: string): string => `string.match(${value}, '^1.(${ANY_FINGERPRINT})(${ANY_ATTEMPT})')`
const requestOfVersion2 = (value: string): string => `string.match(${value}, '^2.(${ANY_BEGINNING})%d%d%d(%x+)')`

/**
 * Reads the variables `beginning` and `settledAttempt` of a settled record: its fingerprint, or the part of it that the
 * record has, and its attempt.
 */
export const readRequest = (value: string): string => `
  local beginning, settledAttempt = ${requestOfVersion2(value)}
  if not beginning then
    beginning, settledAttempt = ${requestOfVersion1(value)}
  end
  settledAttempt = tonumber(settledAttempt, 16)`

/**
 * A write that changes nothing, since every record has an expiry already. If Redis refuses writes for any reason (it is
 * read-only, lacks replicas, or cannot save), it refuses this one. If it accepts this one, it also carries out the
 * writes that follow, even if it is full: Redis does not stop a script that has written. Only for writes that need no
 * more room than a claim.
 */
export const open = (timeToLive: string): string => `redis.call('PEXPIRE', KEYS[1], ${timeToLive}, 'NX')`

/** Wakes the waiters. If an access list forbids PUBLISH, what the script has written stays all the same. */
export const wake = (channel: string): string =>
  `redis.pcall('PUBLISH', ${channel}, string.sub(KEYS[1], -${ID_LENGTH}))`

/**
 * The milliseconds that are left of the lease of a running record, whose TTL was set to `timeToLive` when the lease
 * began.
 */
export const LEASE_LEFT = `${lease('record')} - (${timeToLive('record')} - redis.call('PTTL', KEYS[1]))`
