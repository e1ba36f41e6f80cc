import { setTimeout } from 'node:timers/promises'
import { ErrorReply, RESP_TYPES } from 'redis'
import { StoreRefusedError, StoreUnreachableError } from '../../plugin/index.ts'
import type { Claim, ClaimResult, KeptResponse, Outcome, OwnedClaim, Store, StoredRecord } from '../../plugin/index.ts'

/*
 * A store of one's own: on the client of the npm package `redis`, a hash for each record. Every transition is one
 * script, so that nothing comes between reading and writing, and so that leases are measured by Redis's clock alone.
 *
 * KEYS[1] the record · ARGV owner, fingerprint, lease, retention, attempt, and what each script takes besides
 */
const READ = `
  local key, owner, fingerprint = KEYS[1], ARGV[1], ARGV[2]
  local lease, retention, attempt = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
  local state, wasOwner, wasFingerprint, wasAttempt, leaseEnds, whoLeft =
    unpack(redis.call('HMGET', key, 'state', 'owner', 'fingerprint', 'attempt', 'leaseEnds', 'whoLeft'))
  local ownerLeft = whoLeft == wasOwner and 1 or 0
  local isMine = state == 'running' and wasOwner == owner
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local leaseLeft = state == 'running' and math.max(0, leaseEnds - now)
  local function outcome ()
    return unpack(redis.call('HMGET', key, 'statusCode', 'headers', 'body'))
  end
  local function write (state, attempt, keptFor)
    redis.call('HSET', key, 'state', state, 'owner', owner, 'fingerprint', fingerprint, 'attempt', attempt,
      'leaseEnds', now + lease)
    redis.call('PEXPIRE', key, keptFor)
  end`

/** ARGV[6] whether an owner whose lease ran out may be replaced. */
const CLAIM = `${READ}
  if state and wasFingerprint ~= fingerprint then
    return {'mismatch'}
  end
  if state == 'settled' then
    return {'settled', tonumber(wasAttempt), outcome()}
  end
  if isMine then
    return {'claimed', tonumber(wasAttempt)}
  end
  if state == 'running' and (leaseLeft > 0 or ARGV[6] == 'false') then
    return {'running', leaseLeft, ownerLeft}
  end
  local next = (wasAttempt or 0) + 1
  write('running', next, lease + retention)
  return {'claimed', next}`

/**
 * ARGV[6] the state to move to; ARGV[7] to ARGV[9] status code, headers and body, if it is 'settled'. Answers 1 or 0.
 */
const MOVE = `${READ}
  local to = ARGV[6]
  if to ~= 'running' and state == to and wasOwner == owner then
    return 1 -- done before, and the answer to it was lost
  end
  -- whoever took the key over let nothing run, and withdrew
  local isGivenBack = to == 'settled' and state == 'released' and wasOwner ~= owner
    and tonumber(wasAttempt) == attempt and wasFingerprint == fingerprint
  if state and not isMine and not isGivenBack then
    return 0
  end
  -- A record that was lost is written again, but not for a claim that may never have been granted.
  if state or attempt > 0 then
    write(to, wasAttempt or attempt, to == 'settled' and retention or lease + retention)
    if to == 'settled' then
      redis.call('HSET', key, 'statusCode', ARGV[7])
      if ARGV[8] then
        redis.call('HSET', key, 'headers', ARGV[8], 'body', ARGV[9])
      end
    end
  end
  return 1`

const WITHDRAW = `${READ}
  if not isMine then
    return 0
  end
  if wasAttempt == '1' then
    redis.call('DEL', key)
  else
    write('released', wasAttempt - 1, lease + retention)
  end
  return 1`

const MARK_LEFT = `${READ}
  if not isMine then
    return 0
  end
  redis.call('HSET', key, 'whoLeft', owner) -- and nobody's who takes over
  return 1`

const FIND = `${READ}
  return state and {state, tonumber(wasAttempt), redis.call('PTTL', key), leaseLeft, ownerLeft, outcome()}`

/** The interval in milliseconds at which waiters look again. */
const POLL_INTERVAL = 50

type ClaimAnswer = [state: Buffer, detail: number, ...more: [ownerLeft: number] | Kept]
type Found = [state: Buffer, attempt: number, expiresIn: number, leaseLeft: number | null, ownerLeft: number, ...Kept]
type Kept = [statusCode: Buffer, headers: Buffer | null, body: Buffer | null]

interface Client {
  readonly isReady: boolean
  eval (script: string, options: { keys: string[], arguments: Array<string | Buffer> }): Promise<unknown>
  del (key: string): Promise<unknown>
}

export class NodeRedisStore implements Store {
  readonly #redis: Client
  readonly #keyPrefix: string

  /** @param redis a client of the app. Its type depends on its settings, so only this part of it is required. */
  constructor (
    redis: { withTypeMapping (mapping: { [RESP_TYPES.BLOB_STRING]: typeof Buffer }): Client },
    keyPrefix = 'idem:'
  ) {
    // Bodies are bytes.
    this.#redis = redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
    this.#keyPrefix = keyPrefix
  }

  async claim (id: string, claim: Claim): Promise<ClaimResult> {
    const answer = await this.#run<ClaimAnswer>(CLAIM, id, { ...claim, attempt: 0 }, String(claim.takeOver))
    const [state, detail, ...more] = answer
    switch (String(state)) {
      case 'claimed': return { state: 'claimed', attempt: detail }
      case 'running': return { state: 'running', leaseLeft: detail, ownerLeft: more[0] === 1 }
      case 'settled': return { state: 'settled', attempt: detail, outcome: outcomeOf(more as Kept) }
      default: return { state: 'mismatch' }
    }
  }

  async renew (id: string, owned: OwnedClaim): Promise<boolean> {
    return await this.#run(MOVE, id, owned, 'running') === 1
  }

  async complete (id: string, owned: OwnedClaim, { statusCode, response }: Outcome): Promise<boolean> {
    const kept = response === null ? [] : [JSON.stringify(response.headers), response.body]
    return await this.#run(MOVE, id, owned, 'settled', String(statusCode), ...kept) === 1
  }

  async release (id: string, owned: OwnedClaim): Promise<boolean> {
    return await this.#run(MOVE, id, owned, 'released') === 1
  }

  async withdraw (id: string, claim: Claim): Promise<boolean> {
    return await this.#run(WITHDRAW, id, { ...claim, attempt: 0 }) === 1
  }

  async markLeft (id: string, owned: OwnedClaim): Promise<boolean> {
    return await this.#run(MARK_LEFT, id, owned) === 1
  }

  /** Looks again and again, which needs no second connection. The store for ioredis is woken by a message instead. */
  async wait (id: string, timeout: number, signal: AbortSignal): Promise<void> {
    const end = performance.now() + timeout
    const look = async (): Promise<string> => {
      const [state, , , , ownerLeft] = await this.#run<Found | null>(FIND, id).catch(() => null) ?? []
      return `${String(state)} ${ownerLeft}`
    }
    const first = await look()
    while (first.startsWith('running') && !signal.aborted && performance.now() < end && await look() === first) {
      await setTimeout(Math.min(POLL_INTERVAL, end - performance.now()), undefined, { signal }).catch(() => {})
    }
  }

  async find (id: string): Promise<StoredRecord | null> {
    const found = await this.#run<Found | null>(FIND, id)
    if (found === null) return null
    const [name, attempt, expiresIn, leaseLeft, , ...kept] = found
    const state = String(name) as StoredRecord['state']
    return { state, attempt, expiresIn, leaseLeft, outcome: state === 'settled' ? outcomeOf(kept) : null }
  }

  async forget (id: string): Promise<boolean> {
    return await this.#redis.del(this.#keyPrefix + id) === 1
  }

  /** A client without a connection would send the script later, when nobody waits for the answer any more. */
  async #run<Reply>(script: string, id: string, owned?: OwnedClaim, ...more: Array<string | Buffer>): Promise<Reply> {
    if (!this.#redis.isReady) throw new StoreUnreachableError('The Redis client is not connected')
    const known =
      owned === undefined
        ? []
        : [owned.owner, owned.fingerprint, String(owned.lease), String(owned.retention), String(owned.attempt)]
    try {
      return await this.#redis.eval(script, { keys: [this.#keyPrefix + id], arguments: [...known, ...more] }) as Reply
    } catch (error) {
      // An answer of Redis itself, which only the first write of a script can get, and none of the later ones.
      if (error instanceof ErrorReply) throw new StoreRefusedError('Redis refused the command', { cause: error })
      throw error
    }
  }
}

function outcomeOf ([statusCode, headers, body]: Kept): Outcome {
  const response =
    headers === null || body === null ? null : { headers: JSON.parse(String(headers)) as KeptResponse['headers'], body }
  return { statusCode: Number(statusCode), response }
}
