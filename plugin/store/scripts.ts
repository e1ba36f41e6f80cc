import { createHash } from 'node:crypto'
import { hex, ID_LENGTH, OFFSET, STATE, VERSION } from './record.ts'

/** A Lua script and the SHA-1 that EVALSHA names it by. */
export interface Script {
  lua: string
  sha: string
}

function script (lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') }
}

/** Lua's `string.sub` counts from 1 and includes the end. */
function field (value: string, from: number, to: number): string {
  return `string.sub(${value}, ${from + 1}, ${to})`
}

const state = (value: string): string => field(value, OFFSET.state, OFFSET.fingerprint)
const fingerprint = (value: string): string => field(value, OFFSET.fingerprint, OFFSET.attempt)
const attempt = (value: string): string => `tonumber(${field(value, OFFSET.attempt, OFFSET.owner)}, 16)`
const owner = (value: string): string => field(value, OFFSET.owner, OFFSET.lease)
const lease = (value: string): string => `tonumber(${field(value, OFFSET.lease, OFFSET.timeToLive)}, 16)`
const timeToLive = (value: string): string => `tonumber(${field(value, OFFSET.timeToLive, OFFSET.runningEnd)}, 16)`

/** A record of a version that this code does not know is an error, never overwritten. */
const checkVersion = (value: string): string => `
  if string.sub(${value}, 1, 1) ~= '${VERSION}' then
    return redis.error_reply('IDEMPOTENCY the stored value is not a record of version ${VERSION}')
  end`

/** Milliseconds left of the lease of a running record: its TTL was set to `timeToLive` when the lease began. */
const leaseLeft = (value: string): string =>
  `${lease(value)} - (${timeToLive(value)} - redis.call('PTTL', KEYS[1]))`

/** What `takeOver` answers first. */
export const TAKE_OVER = { running: 0, claimed: 1, settled: 2, mismatch: 3 } as const

/**
 * Take a key over whose owner released it or let its lease run out.
 *
 * KEYS[1] the record
 * ARGV[1] the running record to write; its attempt is filled in here
 * Answers {running, ms left of the lease} | {claimed, attempt} | {settled} | {mismatch}
 */
export const takeOver = script(`
  local mine = ARGV[1]
  local found = redis.call('GET', KEYS[1])
  local attempt = 1
  local state = '${STATE.running}'
  if found then
    ${checkVersion('found')}
    if ${fingerprint('found')} ~= ${fingerprint('mine')} then
      return {${TAKE_OVER.mismatch}}
    end
    local was = ${state('found')}
    if was == '${STATE.settled}' or was == '${STATE.settledWithoutResponse}' then
      return {${TAKE_OVER.settled}}
    end
    attempt = ${attempt('found')}
    if was ~= '${STATE.released}' then
      if ${owner('found')} == ${owner('mine')} then
        return {${TAKE_OVER.claimed}, attempt}
      end
      local left = ${leaseLeft('found')}
      if left > 0 then
        return {${TAKE_OVER.running}, left}
      end
      -- whoever waits for the old owner now waits for the new one
      state = was
    end
    attempt = attempt + 1
  end
  redis.call('SET', KEYS[1],
    '${VERSION}' .. state .. ${field('mine', OFFSET.fingerprint, OFFSET.attempt)} ..
      string.format('%08x', attempt) .. ${field('mine', OFFSET.owner, OFFSET.runningEnd)},
    'PX', ${timeToLive('mine')})
  return {${TAKE_OVER.claimed}, attempt}
`)

/**
 * Mark a running record so that its completion or release wakes whoever waits.
 *
 * KEYS[1] the record
 * Answers 1 if the record is marked and there is something to wait for, else 0
 */
export const markAwaited = script(`
  local head = redis.call('GETRANGE', KEYS[1], 0, ${OFFSET.runningEnd - 1})
  if head == '' then
    return 0
  end
  ${checkVersion('head')}
  local state = ${state('head')}
  if state == '${STATE.awaited}' then
    return 1
  end
  if state == '${STATE.running}' then
    redis.call('SETRANGE', KEYS[1], ${OFFSET.state}, '${STATE.awaited}')
    return 1
  end
  return 0
`)

/**
 * Start the lease anew. A record that Redis lost is written again, since nobody else owns the key then.
 *
 * KEYS[1] the record
 * ARGV[1] the running record as its owner knows it
 * Answers 1, or 0 if the key is not the owner's any more
 */
export const renew = script(`
  local head = redis.call('GETRANGE', KEYS[1], 0, ${OFFSET.runningEnd - 1})
  if head == '' then
    -- that somebody waits may have been lost with it
    redis.call('SET', KEYS[1], '${VERSION}${STATE.awaited}' .. ${field('ARGV[1]', OFFSET.fingerprint, OFFSET.runningEnd)},
      'PX', ${timeToLive('ARGV[1]')})
    return 1
  end
  ${checkVersion('head')}
  local state = ${state('head')}
  if ${owner('head')} ~= ${owner('ARGV[1]')} or (state ~= '${STATE.running}' and state ~= '${STATE.awaited}') then
    return 0
  end
  redis.call('PEXPIRE', KEYS[1], ${timeToLive('head')})
  return 1
`)

/** What `complete` is told beside the record, in one text: clients write each argument with as much effort. */
const COMPLETION = { owner: 0, retention: 18, channel: 30 } as const

export function completion (owner: string, retention: number, channel: string): string {
  return owner + hex(retention, 12) + channel
}

/**
 * Settle the key, if the owner still has it or nobody has.
 *
 * KEYS[1] the record, whose name ends with its id
 * ARGV[1] the settled record
 * ARGV[2] the owner (18 characters), the retention in ms (12, hexadecimal), and the channel that wakes those who wait
 * Answers 1, also when it was settled with this very record before, or 0 if the key is not the owner's any more
 */
export const complete = script(`
  local head = redis.call('GETRANGE', KEYS[1], 0, ${OFFSET.lease - 1})
  -- whether somebody waits is not known of a record that got lost
  local state = '${STATE.awaited}'
  if head ~= '' then
    ${checkVersion('head')}
    state = ${state('head')}
    if state == '${STATE.settled}' or state == '${STATE.settledWithoutResponse}' then
      return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
    end
    if ${owner('head')} ~= ${field('ARGV[2]', COMPLETION.owner, COMPLETION.retention)} or state == '${STATE.released}' then
      return 0
    end
  end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', tonumber(${field('ARGV[2]', COMPLETION.retention, COMPLETION.channel)}, 16))
  if state == '${STATE.awaited}' then
    redis.call('PUBLISH', string.sub(ARGV[2], ${COMPLETION.channel + 1}), string.sub(KEYS[1], -${ID_LENGTH}))
  end
  return 1
`)

/**
 * Give the key back, if the owner still has it. Its attempt stays, also when Redis lost the record.
 *
 * KEYS[1] the record
 * ARGV[1] the released record as its owner knows it; attempt 0 if the answer to its claim never came
 * ARGV[2] the channel that wakes those who wait, ARGV[3] the message
 * Answers 1, also when it was released by the same owner before, or 0 if the key is not the owner's any more
 */
export const release = script(`
  local head = redis.call('GETRANGE', KEYS[1], 0, ${OFFSET.lease - 1})
  if head == '' then
    if ${attempt('ARGV[1]')} > 0 then
      redis.call('SET', KEYS[1], ARGV[1], 'PX', ${timeToLive('ARGV[1]')})
      redis.call('PUBLISH', ARGV[2], ARGV[3])
    end
    return 1
  end
  ${checkVersion('head')}
  local state = ${state('head')}
  if state == '${STATE.settled}' or state == '${STATE.settledWithoutResponse}' or ${owner('head')} ~= ${owner('ARGV[1]')} then
    return 0
  end
  if state ~= '${STATE.released}' then
    redis.call('SETRANGE', KEYS[1], ${OFFSET.state}, '${STATE.released}')
    redis.call('PEXPIRE', KEYS[1], ${timeToLive('ARGV[1]')})
    if state == '${STATE.awaited}' then
      redis.call('PUBLISH', ARGV[2], ARGV[3])
    end
  end
  return 1
`)
