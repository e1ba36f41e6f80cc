import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Redis } from 'ioredis'
import * as scripts from '../../plugin/store/scripts.ts'
import { RedisStore } from '../../plugin/store/redis.ts'
import type { RedisClient } from '../../plugin/store/redis.ts'
import type { Store } from '../../plugin/store/store.ts'
import { aClaim, ANOTHER_REQUEST, ONE_REQUEST } from './harness.ts'
import type { StoreUnderTest } from './harness.ts'
import { Invariants, Model, perform } from './model.ts'
import type { Answer, Operation, OwnersOperation } from './model.ts'

/** What a request does with a key that it was granted: nothing at all if its process crashed. */
type Act = OwnersOperation | 'release, its attempt unknown' | 'claim again'
/** One client: it sends the request until it is granted, at most as many times as it has patience. */
interface Actor { request: 'one' | 'another', takeOver: boolean, patience: number, acts: Act[] }
type Happening = 'the lease runs out' | 'Redis loses the record' | 'an operator forgets the key'

export const actors: fc.Arbitrary<Actor[]> = fc.array(fc.record({
  // Most requests are duplicates: two different requests that meet under one key are soon done.
  request: fc.constantFrom('one', 'one', 'one', 'another'),
  takeOver: fc.constantFrom(true, true, true, false),
  patience: fc.integer({ min: 1, max: 3 }),
  acts: fc.array(fc.constantFrom<Act>(
    'renew', 'complete', 'complete', 'release', 'release, its attempt unknown', 'claim again', 'withdraw', 'markLeft'
  ), { maxLength: 4 })
}), { minLength: 2, maxLength: 4 })

export const happenings: fc.Arbitrary<Happening[]> = fc.array(
  fc.constantFrom<Happening>(
    'the lease runs out',
    'the lease runs out',
    'the lease runs out',
    'Redis loses the record',
    'an operator forgets the key'
  ),
  { maxLength: 4 }
)

/** Performs an operation in steps that the scheduler interleaves with the steps of all others. */
export type Process = (operation: Operation) => Promise<Answer>
export type StartProcess = (world: World) => Process

/** One key, what the model says about it, and all its users. */
export class World {
  readonly model = new Model()
  readonly invariants = new Invariants()
  readonly id: string
  readonly under: StoreUnderTest
  readonly #scheduler: fc.Scheduler

  constructor (scheduler: fc.Scheduler, under: StoreUnderTest, id: string) {
    this.#scheduler = scheduler
    this.under = under
    this.id = id
  }

  /** Runs `step` when the scheduler allows it, alone, and checks the record afterwards. */
  step<T> (label: string, step: () => Promise<T>): Promise<T> {
    const run = async (): Promise<T> => {
      const before = this.model.record
      const result = await step()
      await this.#check(this.model.record !== before)
      return result
    }
    return new Promise((resolve, reject) => {
      // A sequence of one step: a function that `schedule` gets would have begun before its turn.
      this.#scheduler.scheduleSequence([{ label, builder: () => run().then(resolve, reject) }])
    })
  }

  async #check (mayChange: boolean): Promise<void> {
    const found = await this.under.store.find(this.id)
    this.invariants.moved(found, await this.under.stored(this.id), mayChange)
    const { record } = this.model
    assert.deepEqual(
      found && {
        state: found.state,
        attempt: found.attempt,
        body: found.outcome?.response?.body.toString() ?? null,
        leaseHolds: (found.leaseLeft ?? 0) > 0
      },
      record && { state: record.state, attempt: record.attempt, body: record.body, leaseHolds: record.leaseHolds },
      'the record is not what the model says'
    )
  }

  async play (cast: Actor[], happenings: Happening[], start: StartProcess): Promise<void> {
    await this.#scheduler.waitFor(
      Promise.all([...cast.map(actor => this.#act(actor, start(this))), this.#happen(happenings)])
    )
  }

  async #act ({ request, takeOver, patience, acts }: Actor, process: Process): Promise<void> {
    const fingerprint = request === 'one' ? ONE_REQUEST : ANOTHER_REQUEST
    for (let tries = 0; tries < patience; tries++) {
      const claim = aClaim({ fingerprint, takeOver })
      const answer = await process({ kind: 'claim', claim })
      if (!answer.startsWith('claimed as ')) continue
      const owned = { ...claim, attempt: attemptOf(answer) }
      for (const act of acts) {
        if (act === 'claim again') {
          const again = await process({ kind: 'claim', claim })
          // If the record was lost and taken over meanwhile, it may have another attempt.
          if (again.startsWith('claimed as ')) owned.attempt = attemptOf(again)
        } else if (act === 'release, its attempt unknown') {
          await process({ kind: 'release', owned: { ...claim, attempt: 0 } })
        } else {
          await process({ kind: act, owned })
        }
      }
      return
    }
  }

  async #happen (happenings: Happening[]): Promise<void> {
    for (const happening of happenings) {
      await this.step(happening, async () => {
        if (happening === 'the lease runs out') {
          if (this.model.record?.state !== 'running') return
          await this.under.expireLease(this.id)
          this.model.expireLease()
          this.invariants.leaseExpired()
          return
        }
        if (happening === 'Redis loses the record') await this.under.expireRecord(this.id)
        else await this.under.store.forget(this.id)
        this.model.record = null
        this.invariants.forgotten()
      })
    }
  }

  /** Tells the invariants the answer of an operation, in the same step. */
  answered (operation: Operation, answer: Answer): void {
    if (operation.kind === 'claim') {
      if (answer.startsWith('claimed as ')) this.invariants.granted(operation.claim, attemptOf(answer))
    } else if (answer === 'true') {
      if (operation.kind === 'withdraw') this.invariants.withdrew(operation.owned)
      else if (operation.kind !== 'markLeft' && this.model.record !== null) {
        this.invariants.succeeded(operation.kind, operation.owned)
      }
    }
  }
}

function attemptOf (answer: Answer): number {
  return Number(answer.slice('claimed as '.length))
}

/** A process in which every operation is one step: that of a store within this process. */
export function wholeOperations (store: Store): StartProcess {
  return world => operation => world.step(operation.kind, async () => {
    const expected = world.model.apply(operation)
    const answer = await perform(store, world.id, operation)
    assert.equal(answer, expected, `the answer to ${operation.kind}`)
    world.answered(operation, answer)
    return answer
  })
}

const LUA = new Map(
  Object.values(scripts)
    .filter(script => typeof script === 'object' && 'lua' in script)
    .map(({ sha, lua }) => [sha, lua])
)

/**
 * A process whose every Redis command is one step, so that others get between the two commands of a claim. An
 * operation must answer what the model says at the time of its last command.
 * @param change breaks a script, to see that it is noticed
 */
export function singleCommands (
  redis: Redis,
  keyPrefix: string,
  change: (lua: string) => string = lua => lua
): StartProcess {
  return (world) => {
    let current: Operation | undefined
    let expected: Answer | undefined
    const client: RedisClient = {
      status: 'ready',
      setBuffer: (key, value, px, milliseconds, nx, get) => world.step('SET', async () => {
        assert.ok(current?.kind === 'claim', 'only a claim sets a key without a script')
        const isNew = world.model.record === null
        expected = isNew ? world.model.apply(current) : world.model.peek(current)
        const found = await redis.setBuffer(key, value, px, milliseconds, nx, get)
        if (found === null) world.invariants.granted(current.claim, 1)
        return found
      }),
      evalsha: (sha, keys, key, ...args) => world.step(`EVALSHA for ${current?.kind}`, async () => {
        assert.ok(current !== undefined)
        expected = world.model.apply(current)
        const lua = LUA.get(sha)
        assert.ok(lua !== undefined, 'a script that is known')
        const answer = await redis.eval(change(lua), keys, key, ...args)
        if (Array.isArray(answer)) {
          if (answer[0] === scripts.TAKE_OVER.claimed) world.answered(current, `claimed as ${answer[1]}`)
        } else {
          world.answered(current, String(answer === 1))
        }
        return answer
      }),
      eval: () => unused('EVAL'),
      getBuffer: () => unused('GET'),
      pttl: () => unused('PTTL'),
      once: () => undefined,
      on: () => undefined,
      off: () => undefined,
      duplicate: () => unused('SUBSCRIBE')
    }
    const store = new RedisStore(client, { keyPrefix, connectTimeout: 1_000 })
    return async (operation) => {
      current = operation
      const answer = await perform(store, world.id, operation)
      assert.equal(answer, expected, `the answer to ${operation.kind}`)
      return answer
    }
  }
}

function unused (command: string): never {
  throw new Error(`${command} is not used here`)
}
