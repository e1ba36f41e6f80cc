import { createHash } from 'node:crypto'
import { ID_LENGTH, OFFSET, OWNER_LEFT, STATE } from './record.ts'

/** A Lua script and the SHA-1 that EVALSHA names it by. */
export interface Script {
  lua: string
  sha: string
}

export function script (lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') }
}

/** Lua's `string.sub` counts from 1 and includes the end. */
export function field (value: string, from: number, to: number): string {
  return `string.sub(${value}, ${from + 1}, ${to})`
}

export const version = (value: string): string => field(value, 0, OFFSET.state)
export const fingerprint = (value: string): string => field(value, OFFSET.fingerprint, OFFSET.attempt)
export const attempt = (value: string): string => `tonumber(${field(value, OFFSET.attempt, OFFSET.owner)}, 16)`
export const owner = (value: string): string => field(value, OFFSET.owner, OFFSET.lease)
export const lease = (value: string): string => `tonumber(${field(value, OFFSET.lease, OFFSET.timeToLive)}, 16)`
export const timeToLive = (value: string): string => `tonumber(${field(value, OFFSET.timeToLive, OFFSET.runningEnd)}, 16)`
export const ownerLeft = (value: string): string => `${field(value, OFFSET.runningEnd, OFFSET.runningEnd + 1)} == '${OWNER_LEFT}'`

/** What the error reply to a record that cannot be read starts with. */
export const UNREADABLE = 'IDEMPOTENCY'

const ANY_FINGERPRINT = '.'.repeat(OFFSET.attempt - OFFSET.fingerprint)
const ANY_ATTEMPT = '%x'.repeat(OFFSET.owner - OFFSET.attempt)
const ANY_OWNER = '.'.repeat(OFFSET.lease - OFFSET.owner)
const ANY_TIMES = '%x'.repeat(OFFSET.runningEnd - OFFSET.lease)
const OWNED = `^[12][${STATE.running}${STATE.awaited}${STATE.released}]${ANY_FINGERPRINT}${ANY_ATTEMPT}${ANY_OWNER}${ANY_TIMES}`
const SETTLED = `^[12][${STATE.settled}${STATE.settledWithoutResponse}]${ANY_FINGERPRINT}${ANY_ATTEMPT}%d%d%d\\n`

/** Reads `record` and its `state`; false and nil if there is none. What cannot be read ends the script, as it is. */
export const READ = `
  local record = redis.call('GET', KEYS[1])
  local state
  if record then
    if not string.find(record, '${OWNED}') and not string.find(record, '${SETTLED}') then
      return redis.error_reply('${UNREADABLE} the stored value is not a record of a version that can be read')
    end
    state = ${field('record', OFFSET.state, OFFSET.fingerprint)}
  end`

export const isRunning = `(state == '${STATE.running}' or state == '${STATE.awaited}')`
export const isSettled = `(state == '${STATE.settled}' or state == '${STATE.settledWithoutResponse}')`

/**
 * A write that changes nothing, since every record has an expiry. Whatever Redis refuses writes for (it is read-only,
 * lacks replicas, cannot save) it refuses here, and what follows it carries out even if it is full: a script that has
 * written is not stopped half-way. For writes that take no more room than a claim did.
 */
export const open = (timeToLive: string): string => `redis.call('PEXPIRE', KEYS[1], ${timeToLive}, 'NX')`

/** Wakes whoever waits. What is written stands, also where an access list forbids to say so. */
export const wake = (channel: string): string =>
  `redis.pcall('PUBLISH', ${channel}, string.sub(KEYS[1], -${ID_LENGTH}))`

/** Milliseconds left of the lease of a running record: its TTL was set to `timeToLive` when the lease began. */
export const LEASE_LEFT = `${lease('record')} - (${timeToLive('record')} - redis.call('PTTL', KEYS[1]))`
