import {
  attempt, field, fingerprint, isRunning, isSettled, lease, LEASE_LEFT, open, owner, ownerLeft, READ, readRequest,
  script, timeToLive, version, wake
} from './lua.ts'
import { hex, OFFSET, OWNER_LEFT, STATE } from './record.ts'

export type { Script } from './lua.ts'

/*
 * Each script changes the record in one command, and calls nothing after it that Redis could refuse. So an error reply
 * means that nothing was changed.
 */

/** The first value that `takeOver` returns. `changed`: the record is not the one that was read before; claim again. */
export const TAKE_OVER = { running: 0, claimed: 1, changed: 2, mismatch: 3 } as const

/** The second argument of `takeOver`. */
export function permission (takeOver: boolean, alternativeFingerprint = ''): string {
  return `${takeOver ? 1 : 0}${alternativeFingerprint}`
}

/**
 * Take a key over that was released, or whose owner's lease ran out.
 *
 * KEYS[1] the record
 * ARGV[1] the running record to write; the script fills its attempt in
 * ARGV[2] 1 if an owner whose lease ran out may be replaced, else 0; then, if it is known, the fingerprint to compare
 *   with a record of another version than ARGV[1]
 * Returns {running, ms left of the lease, 1 if the owner's client has disconnected, else 0} | {claimed, attempt} |
 *   {changed} | {mismatch}
 */
export const takeOver = script(`
  local mine = ARGV[1]
  ${READ}
  local attempt = 1
  local written = '${STATE.running}'
  if record then
    -- the next claim reads the outcome, and compares what a settled record has of the fingerprint
    if ${isSettled} then
      return {${TAKE_OVER.changed}}
    end
    local expected = ${fingerprint('mine')}
    if ${version('record')} ~= ${version('mine')} then
      expected = string.sub(ARGV[2], 2)
      if expected == '' then
        return {${TAKE_OVER.changed}}
      end
    end
    if ${fingerprint('record')} ~= expected then
      return {${TAKE_OVER.mismatch}}
    end
    attempt = ${attempt('record')}
    if state ~= '${STATE.released}' then
      if ${owner('record')} == ${owner('mine')} then
        return {${TAKE_OVER.claimed}, attempt}
      end
      local left = ${LEASE_LEFT}
      if left > ${lease('record')} then
        -- the clock of Redis was set back, which must not give the owner more time than its lease
        redis.call('PEXPIRE', KEYS[1], ${timeToLive('record')})
        left = ${lease('record')}
      end
      if left > 0 or string.sub(ARGV[2], 1, 1) == '0' then
        return {${TAKE_OVER.running}, math.max(left, 0), ${ownerLeft('record')} and 1 or 0}
      end
      -- the waiters of the old owner now wait for the new one
      written = state
    end
    attempt = attempt + 1
  end
  redis.call('SET', KEYS[1],
    ${version('mine')} .. written .. ${fingerprint('mine')} ..
      string.format('%08x', attempt) .. ${field('mine', OFFSET.owner, OFFSET.runningEnd)},
    'PX', ${timeToLive('mine')})
  return {${TAKE_OVER.claimed}, attempt}
`)

/**
 * Mark a running record so that its completion or release wakes the waiters.
 *
 * KEYS[1] the record
 * Returns 1 if the record is marked and there is something to wait for, else 0
 */
export const markAwaited = script(`
  ${READ}
  if not ${isRunning} then
    return 0
  end
  if state == '${STATE.running}' then
    ${open(timeToLive('record'))}
    redis.call('SETRANGE', KEYS[1], ${OFFSET.state}, '${STATE.awaited}')
  end
  return 1
`)

/**
 * Renew the lease. A record that Redis lost is written again, since nobody else owns the key then.
 *
 * KEYS[1] the record
 * ARGV[1] the running record as its owner knows it
 * Returns 1, or 0 if the owner does not have the key any more
 */
export const renew = script(`
  ${READ}
  if not record then
    ${open(timeToLive('ARGV[1]'))}
    -- the mark that somebody waits may have been lost with the record
    redis.call('SET', KEYS[1],
      ${version('ARGV[1]')} .. '${STATE.awaited}' .. ${field('ARGV[1]', OFFSET.fingerprint, OFFSET.runningEnd)},
      'PX', ${timeToLive('ARGV[1]')})
    return 1
  end
  if not ${isRunning} or ${owner('record')} ~= ${owner('ARGV[1]')} then
    return 0
  end
  redis.call('PEXPIRE', KEYS[1], ${timeToLive('record')})
  return 1
`)

/** The parts of the second argument of `complete`. They are one text, since every argument costs a client time. */
const COMPLETION = { owner: 0, retention: 18, channel: 30 } as const

export function completion (owner: string, retention: number, channel: string): string {
  return owner + hex(retention, 12) + channel
}

const retention = `tonumber(${field('ARGV[2]', COMPLETION.retention, COMPLETION.channel)}, 16)`

/**
 * Store the outcome, if the owner still has the key or nobody has it. An outcome without a response can be stored even
 * if Redis is full.
 *
 * KEYS[1] the record, whose name ends with its id
 * ARGV[1] the settled record
 * ARGV[2] the owner (18 characters), the retention in ms (12, hexadecimal), and the channel that wakes waiters
 * Returns 1, also if the key was settled with the same record before, or 0 if the owner does not have the key any more
 */
export const complete = script(`
  ${READ}
  if ${isSettled} then
    return record == ARGV[1] and 1 or 0
  end
  if record then
    local mine = ${owner('record')} == ${field('ARGV[2]', COMPLETION.owner, COMPLETION.retention)}
    if state == '${STATE.released}' then
      -- a claim took the key over and was withdrawn: nothing ran, and the record has the same attempt as before
      ${readRequest('ARGV[1]')}
      mine = not mine and ${attempt('record')} == settledAttempt and
        string.sub(${fingerprint('record')}, 1, #beginning) == beginning
    end
    if not mine then
      return 0
    end
  end
  if ${field('ARGV[1]', OFFSET.state, OFFSET.fingerprint)} == '${STATE.settledWithoutResponse}' then
    ${open(retention)}
  end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ${retention})
  -- if the record was lost, it is not known whether somebody waits
  if state == '${STATE.awaited}' or not record then
    ${wake(`string.sub(ARGV[2], ${COMPLETION.channel + 1})`)}
  end
  return 1
`)

/**
 * Give the key back, if the owner still has it. Its attempt is remembered, also if Redis lost the record.
 *
 * KEYS[1] the record, whose name ends with its id
 * ARGV[1] the released record as its owner knows it; attempt 0 if the owner never got the answer to its claim
 * ARGV[2] the channel that wakes waiters
 * Returns 1, also if the same owner released it before, or 0 if the owner does not have the key any more
 */
export const release = script(`
  ${READ}
  if not record then
    if ${attempt('ARGV[1]')} > 0 then
      ${open(timeToLive('ARGV[1]'))}
      redis.call('SET', KEYS[1], ARGV[1], 'PX', ${timeToLive('ARGV[1]')})
      ${wake('ARGV[2]')}
    end
    return 1
  end
  if ${isSettled} or ${owner('record')} ~= ${owner('ARGV[1]')} then
    return 0
  end
  if state ~= '${STATE.released}' then
    ${open(timeToLive('ARGV[1]'))}
    redis.call('SET', KEYS[1],
      ${version('record')} .. '${STATE.released}' .. ${field('record', OFFSET.fingerprint, OFFSET.runningEnd)},
      'PX', ${timeToLive('ARGV[1]')})
    if state == '${STATE.awaited}' then
      ${wake('ARGV[2]')}
    end
  end
  return 1
`)

/**
 * Undo a claim that let nothing run: the key is absent again, or released with the attempt that it had before.
 *
 * KEYS[1] the record, whose name ends with its id
 * ARGV[1] the owner, ARGV[2] the channel that wakes waiters
 * Returns 1, or 0 if the key does not belong to this claim
 */
export const withdraw = script(`
  ${READ}
  if not ${isRunning} or ${owner('record')} ~= ARGV[1] then
    return 0
  end
  local attempt = ${attempt('record')}
  if attempt == 1 then
    redis.call('DEL', KEYS[1])
  else
    ${open(timeToLive('record'))}
    redis.call('SET', KEYS[1],
      ${version('record')} .. '${STATE.released}' .. ${fingerprint('record')} ..
        string.format('%08x', attempt - 1) .. ${field('record', OFFSET.owner, OFFSET.runningEnd)},
      'PX', ${timeToLive('record')})
  end
  if state == '${STATE.awaited}' then
    ${wake('ARGV[2]')}
  end
  return 1
`)

/**
 * Note that the owner's client has disconnected. The note follows the record, where earlier versions of this package do
 * not read.
 *
 * KEYS[1] the record, whose name ends with its id
 * ARGV[1] the owner, ARGV[2] the channel that wakes waiters
 * Returns 1, or 0 if the owner does not have the key any more
 */
export const markLeft = script(`
  ${READ}
  if not ${isRunning} or ${owner('record')} ~= ARGV[1] then
    return 0
  end
  if not (${ownerLeft('record')}) then
    ${open(timeToLive('record'))}
    redis.call('SETRANGE', KEYS[1], ${OFFSET.runningEnd}, '${OWNER_LEFT}')
    if state == '${STATE.awaited}' then
      ${wake('ARGV[2]')}
    end
  end
  return 1
`)
