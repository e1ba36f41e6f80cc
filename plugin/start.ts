import { setMaxListeners } from 'node:events'
import type { FastifyInstance } from 'fastify'
import type { Engine } from './core/engine.ts'
import { IdTable } from './core/id-table.ts'
import { Leases } from './core/leases.ts'
import { ReplayCache } from './core/replay-cache.ts'
import { RetryQueue } from './core/retry-queue.ts'
import { StoreContact } from './core/store-contact.ts'
import { StoreTimeout } from './core/store-timeout.ts'
import { checkJournals } from './journal/check.ts'
import { Purger } from './journal/purger.ts'
import { Events } from './observe/events.ts'
import type { PluginSettings } from './options.ts'
import { endIfSent } from './request/end.ts'
import { MemoryStore } from './store/memory.ts'
import { RedisStore } from './store/redis.ts'
import type { RedisClient } from './store/redis.ts'

/** The parts of one registration of the plugin, and how they start and stop. */
export interface Started {
  engine: Engine
  /** The journals of the routes, which are checked at the start and purged now and then. */
  journals: Purger
  /**
   * Checks the journals, and Redis if `redisChecks` is set.
   * @param milliseconds how long Redis may take to answer
   * @throws what keeps the app from being ready
   */
  checkServers (milliseconds: number): Promise<void>
  /** Called in this order when the app closes. */
  stop: {
    begin (): void
    /** Waits for what owns a key, for `milliseconds` at most. */
    untilIdle (milliseconds: number): Promise<void>
    /** Stores what is left in the retry queue, says in the log what could not be stored, and lets go of everything. */
    end (): Promise<void>
  }
}

export function startEngine (app: FastifyInstance, settings: PluginSettings): Started {
  const ownStore = settings.store === undefined ? redisStore(settings) : null
  const store = ownStore ?? settings.store as NonNullable<typeof settings.store>
  const events = new Events()
  const contact = new StoreContact()
  const storeTimeout = new StoreTimeout(settings.storeTimeout, contact, events)
  const leases = new Leases(store, storeTimeout, events, endIfSent)
  leases.cover(settings.route.lease)
  // After an outage of the store, other processes may still be connecting again.
  const stopListening = store.onReady?.(() => { contact.failed() })
  const retryQueue = new RetryQueue(store, storeTimeout, () => leases.period)
  // The outcomes of a MemoryStore are in the memory of this process already.
  const cached = store instanceof MemoryStore ? false : settings.replayCache
  const replayCache = cached === false ? null : new ReplayCache(cached.maxSize, cached.maxAge)
  const stopForgetting = replayCache === null ? undefined : store.onForgotten?.((id) => { replayCache.forget(id) })
  const journals = new Purger(app.log)
  if (settings.route.journal !== false) journals.cover(settings.route.journal)
  const closing = new AbortController()
  // Each acquisition with waiters listens.
  setMaxListeners(0, closing.signal)
  let closingSince = 0

  return {
    engine: {
      settings,
      store,
      storeTimeout,
      contact,
      leases,
      retryQueue,
      replayCache,
      events,
      acquisitions: new IdTable(),
      waiting: 0,
      log: app.log,
      closing: closing.signal
    },
    journals,
    async checkServers (milliseconds) {
      const redis = settings.redisChecks ? ownStore?.check(milliseconds, app.log) : undefined
      await Promise.all([checkJournals(journals.journals, app.log), redis])
    },
    stop: {
      begin () {
        closingSince = performance.now()
        closing.abort()
      },
      async untilIdle (milliseconds) {
        await leases.untilIdle(milliseconds)
      },
      async end () {
        for (const owner of await leases.untilIdle(closingSince + settings.closeTimeout - performance.now())) {
          if (!owner.ended) {
            owner.log.error('idempotency: the app closes while this run still owns its key: ' +
              'once its lease is over a retry may run, with a higher attempt')
          }
        }
        journals.close()
        stopListening?.()
        stopForgetting?.()
        await retryQueue.close()
        leases.close()
        storeTimeout.close()
        ownStore?.close()
      }
    }
  }
}

function redisStore ({ redis, keyPrefix, recordVersion, compress, storeTimeout }: PluginSettings): RedisStore {
  return new RedisStore(redis as RedisClient, { keyPrefix, recordVersion, compress, connectTimeout: storeTimeout })
}
