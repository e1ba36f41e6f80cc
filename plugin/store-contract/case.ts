import { randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { Store } from '../store/store.ts'

/** What a case of the contract runs on. */
export interface StoresUnderTest {
  store: Store
  /**
   * The same records as another process sees them: a second instance with a connection of its own. If the records never
   * leave the process, pass the same instance as `store`.
   */
  other: Store
  /**
   * Whether the store knows already that somebody waits for this key. Optional: without it the cases give waiters a
   * head start of a tenth of a second, and are a little less reliable.
   */
  isAwaited?: (id: string) => Promise<boolean>
  /**
   * What is stored for this key, in any form in which two values can be compared. Optional: with it the cases also
   * check that a refused call does not change a byte.
   */
  stored?: (id: string) => Promise<string | null>
}

/** One promise of a store. */
export interface StoreCase {
  /** A sentence. No two cases have the same one. */
  readonly name: string
  /**
   * Resolves if the store keeps the promise. It uses new random keys and the real clock, so that cases may share their
   * stores and run at the same time. The store forgets the records that a case leaves after ten minutes at the latest.
   * @throws {AssertionError} that says what is wrong
   */
  readonly run: (stores: StoresUnderTest) => Promise<void>
}

/** What the body of a case gets. */
export interface World extends StoresUnderTest {
  /** The id of a record that nothing else uses. */
  id: string
  /** Aborts at the end of the case, so that no wait lasts longer. */
  ended: AbortSignal
}

export function aCase (name: string, body: (world: World) => Promise<void>): StoreCase {
  return {
    name,
    async run (stores) {
      const ending = new AbortController()
      // Every wait adds a listener.
      setMaxListeners(0, ending.signal)
      try {
        await body({ ...stores, id: newId(), ended: ending.signal })
      } finally {
        ending.abort()
      }
    }
  }
}

/** 43 characters, like the ids that the plugin makes from scope and key. */
export function newId (): string {
  return randomBytes(32).toString('base64url')
}
