import { AsyncResource } from 'node:async_hooks'
import { StoreTimeoutError } from '../errors.ts'
import type { Events } from '../observe/events.ts'
import { LinkedList } from '../shared/linked-list.ts'
import type { Linked } from '../shared/linked-list.ts'
import { PUNCTUAL } from '../shared/punctual.ts'
import { RecordUnreadableError } from '../store/store.ts'
import type { StoreContact } from './store-contact.ts'

/**
 * The promise of a call. Where the call throws instead of returning a promise, one that rejects. Where it returns
 * another value, one of that value: stores are other people's code.
 */
export function promiseOf<T> (call: () => Promise<T>): Promise<T> {
  try {
    return Promise.resolve(call())
  } catch (error) {
    return rejection(error)
  }
}

async function rejection (error: unknown): Promise<never> {
  throw error
}

/** No hook has to learn when a call has ended. */
const MANUAL = { requireManualDestroy: true }

/**
 * A call that has not been answered yet. It remembers the async context of its caller: the timer that ends it belongs
 * to another request.
 */
class PendingCall extends AsyncResource implements Linked<PendingCall> {
  /** `performance.now()` at which it has taken too long. */
  expiresAt: number
  /** Its time was extended once, because this process was busy when it ran out. */
  extended = false
  readonly fail: (error: Error) => void
  previous: PendingCall | null = null
  next: PendingCall | null = null

  constructor (expiresAt: number, fail: (error: Error) => void) {
    super('fastify-idempotency.store-call', MANUAL)
    this.expiresAt = expiresAt
    this.fail = fail
  }
}

/**
 * Limits how long each call of the store may take. All calls share one timer, since they expire in the order in which
 * they began. A timer for each call would be the most expensive part of a replay.
 */
export class StoreTimeout {
  readonly #milliseconds: number
  readonly #contact: StoreContact
  readonly #events: Events
  readonly #calls = new LinkedList<PendingCall>()
  #timer: NodeJS.Timeout | null = null
  /** `performance.now()` at which the timer is due. */
  #dueAt = 0

  /**
   * @param contact learns of every call that is answered, and of every one that is not
   * @param events counts those that failed or took too long
   */
  constructor (milliseconds: number, contact: StoreContact, events: Events) {
    this.#milliseconds = milliseconds
    this.#contact = contact
    this.#events = events
  }

  /** @throws {StoreTimeoutError} if `call` takes longer. The call itself goes on. */
  limit<T> (call: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => { this.handle(call, resolve, reject) })
  }

  /** As `limit`, without a promise: calls one of the two functions. */
  handle<T> (call: Promise<T>, answered: (value: T) => void, failed: (error: Error) => void): void {
    const now = performance.now()
    const pending = new PendingCall(now + this.#milliseconds, failed)
    this.#calls.append(pending)
    if (this.#timer === null) this.#startTimer(this.#milliseconds, now)
    call.then((value) => {
      if (!this.#calls.remove(pending)) return
      this.#contact.answered(now)
      answered(value)
    }, (error: Error) => {
      // One that expired was counted then.
      if (!this.#calls.remove(pending)) return
      this.#failed(error)
      failed(error)
    })
  }

  #startTimer (milliseconds: number, now: number): void {
    this.#dueAt = now + milliseconds
    this.#timer = setTimeout(this.#expire, milliseconds)
  }

  #failed (error: unknown): void {
    this.#events.storeCallFailed()
    // A record that cannot be read is the answer of a store that works.
    if (!(error instanceof RecordUnreadableError)) this.#contact.failed()
  }

  #expire = (): void => {
    this.#timer = null
    const now = performance.now()
    // A late timer shows that this process was busy, not that the store is. What a blocked event loop has not sent or
    // read yet gets its time once more.
    const wasBusy = now - this.#dueAt > PUNCTUAL
    for (let call = this.#calls.first; call !== null; call = this.#calls.first) {
      const left = call.expiresAt - now
      if (left > 0) return this.#startTimer(Math.ceil(left), now)
      this.#calls.remove(call)
      if (wasBusy && !call.extended) {
        // It goes behind the calls that began since: those expire earlier.
        call.expiresAt = now + this.#milliseconds
        call.extended = true
        this.#calls.append(call)
        continue
      }
      const error = new StoreTimeoutError(`The idempotency store did not answer within ${this.#milliseconds} ms`)
      this.#failed(error)
      call.runInAsyncScope(call.fail, null, error)
    }
  }

  /** Stops the timer, which must not keep a closed app alive. With calls that are still pending the timer goes on. */
  close (): void {
    if (this.#calls.first === null && this.#timer !== null) clearTimeout(this.#timer)
  }
}
