import { randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { Store } from '../store/store.ts'

/** What a case of the contract runs on. */
export interface StoresUnderTest {
  store: Store
  /**
   * The same records as another process sees them: a second instance with a connection of its own. The same as
   * `store` where records do not leave the process.
   */
  other: Store
  /**
   * Whether the store knows by now that somebody waits for this key, if that can be seen. Without it those who wait
   * get a head start of a tenth of a second. The contract is the same; what is tested of it is a little less certain.
   */
  isAwaited?: (id: string) => Promise<boolean>
  /**
   * What is stored under this key, in any form in which two values can be compared, if that can be seen. With it the
   * contract also checks that what is refused does not change a byte.
   */
  stored?: (id: string) => Promise<string | null>
}

/** One promise of a store. */
export interface StoreCase {
  /** A sentence. No two cases have the same one. */
  readonly name: string
  /**
   * Resolves if the promise is kept. Uses new, random keys and no clock but the real one, so that cases may share
   * their stores and run at the same time. The records that it leaves are forgotten after ten minutes at the latest.
   * @throws {AssertionError} saying what is not as it should be
   */
  readonly run: (stores: StoresUnderTest) => Promise<void>
}

/** What the body of a case is given. */
export interface World extends StoresUnderTest {
  /** A key's record that nobody else uses. */
  id: string
  /** Aborts with the end of the case, so that nobody waits longer than that. */
  ended: AbortSignal
}

export function aCase (name: string, body: (world: World) => Promise<void>): StoreCase {
  return {
    name,
    async run (stores) {
      const ending = new AbortController()
      // Everybody who waits listens.
      setMaxListeners(0, ending.signal)
      try {
        await body({ ...stores, id: newId(), ended: ending.signal })
      } finally {
        ending.abort()
      }
    }
  }
}

/** 43 characters, like the ids that the plugin makes of scope and key. */
export function newId (): string {
  return randomBytes(32).toString('base64url')
}
