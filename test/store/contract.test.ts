import { AssertionError } from 'node:assert'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { storeContract } from '../../plugin/store-contract/index.ts'
import { limits } from '../../plugin/store-contract/time.ts'
import { MemoryStore } from '../../plugin/store/memory.ts'
import type { KeptResponse, Outcome, Store } from '../../plugin/store/store.ts'
import { methodsOf } from './harness.ts'
import type { StoreMethods } from './harness.ts'

/*
 * The contract is useful only if it notices what is wrong. Each of these stores breaks one promise.
 */

/** What is wrong with a store, the methods that are wrong, and a case that must fail. */
const BROKEN_STORES: Array<[what: string, breakIt: (store: Store) => Partial<StoreMethods>, caught: string]> = [
  ['that lets a late owner complete', store => ({
    async complete (id, owned, outcome) {
      if (await store.complete(id, owned, outcome)) return true
      await store.forget(id)
      return store.complete(id, owned, outcome)
    }
  }), 'a late owner cannot change its successor’s run'],

  ['that takes a key over while its lease lasts', store => ({
    async claim (id, claim) {
      const result = await store.claim(id, claim)
      if (result.state !== 'running') return result
      await store.forget(id)
      return store.claim(id, claim)
    }
  }), 'a running key is refused for as long as its lease lasts, and says how long that is'],

  ['that takes a key over a little too soon', store => ({
    async claim (id, claim) {
      const result = await store.claim(id, claim)
      if (result.state !== 'running' || result.leaseLeft > 100) return result
      await store.forget(id)
      return store.claim(id, claim)
    }
  }), 'a lease is not taken over before it ran out'],

  ['that keeps a key locked after a crash', store => ({
    async claim (id, claim) {
      const found = await store.find(id)
      if (found?.state !== 'running') return store.claim(id, claim)
      return { state: 'running', leaseLeft: found.leaseLeft ?? 0, ownerLeft: false }
    }
  }), 'a lease that ran out lets the next claim take over, with attempt 2 and a lease of its own'],

  ['that grants a key to all who ask at once', store => ({
    async claim (id, claim) {
      const found = await store.find(id)
      await Promise.resolve()
      return found === null ? { state: 'claimed', attempt: 1 } : store.claim(id, claim)
    }
  }), 'of many that claim a new key at once, one is granted it'],

  ['that lets another request overwrite the record', store => ({
    async claim (id, claim) {
      const result = await store.claim(id, claim)
      if (result.state !== 'mismatch') return result
      await store.forget(id)
      await store.claim(id, claim)
      return result
    }
  }), 'a claim by another request of a key that is settled is a mismatch, and changes nothing'],

  ['that forgets how many attempts there were', store => ({
    async release (id, owned) {
      const released = await store.release(id, owned)
      if (released) await store.forget(id)
      return released
    }
  }), 'a released key is granted at once, with the next attempt'],

  ['that prolongs what it replays', store => ({
    async claim (id, claim) {
      const result = await store.claim(id, claim)
      if (result.state !== 'settled') return result
      await store.forget(id)
      await store.complete(id, { ...claim, attempt: result.attempt }, result.outcome)
      return result
    }
  }), 'a replay does not prolong the retention'],

  ['that keeps an outcome for too long', store => ({
    complete: (id, owned, outcome) => store.complete(id, { ...owned, retention: owned.retention + 1_000 }, outcome)
  }), 'an outcome is kept for its retention, counted from its completion'],

  ['that renews in words only', () => ({
    renew: async () => true
  }), 'a renewal begins the lease again, and the time until the record is forgotten'],

  ['that gives a lost record up', store => ({
    async complete (id, owned, outcome) {
      return await store.find(id) !== null && store.complete(id, owned, outcome)
    }
  }), 'the owner of a lost record completes its run'],

  ['that counts a claim which was withdrawn', store => ({
    withdraw: (id, claim) => store.release(id, { ...claim, attempt: 0 })
  }), 'a first claim that is withdrawn leaves nothing behind'],

  ['that forgets the attempts before a claim which was withdrawn', store => ({
    async withdraw (id, claim) {
      return await store.withdraw(id, claim) && (await store.forget(id), true)
    }
  }), 'a withdrawn claim of a released key does not count: the key has the attempt that it had'],

  ['that withdraws what is somebody else’s', store => ({
    withdraw: id => store.forget(id)
  }), 'nobody else’s claim can be withdrawn: a key that is settled stays as it is'],

  ['that does not know of clients which left', store => ({
    async claim (id, claim) {
      const result = await store.claim(id, claim)
      return result.state === 'running' ? { ...result, ownerLeft: false } : result
    }
  }), 'a duplicate learns whether the owner’s client has left'],

  ['that forgets with a renewal that a client left', store => ({
    async renew (id, owned) {
      await store.forget(id)
      return store.renew(id, owned)
    }
  }), 'it is still known that the owner’s client has left after the owner renewed its lease'],

  ['that wakes nobody when a client has left', (store) => {
    const left = new Set<string>()
    return {
      async markLeft (id) { return left.add(id).has(id) },
      async claim (id, claim) {
        const result = await store.claim(id, claim)
        return result.state === 'running' ? { ...result, ownerLeft: left.has(id) } : result
      }
    }
  }, 'a waiting duplicate wakes as soon as the owner’s client has left, and can wait again'],

  ['that takes over for who may not', store => ({
    claim: (id, claim) => store.claim(id, { ...claim, takeOver: true })
  }), 'a claim that may not take over learns that the lease ran out, and the owner keeps the key'],

  ['that takes bytes for text', store => ({
    complete: (id, owned, outcome) =>
      store.complete(
        id,
        owned,
        changed(outcome, ({ headers, body }) => ({ headers, body: String(body) }))
      )
  }), 'a duplicate gets the body byte for byte: every byte there is'],

  ['that joins the values of a header', store => ({
    complete: (id, owned, outcome) => store.complete(id, owned, changed(outcome, ({ headers, body }) => ({
      headers: headers.map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
      body
    })))
  }), 'a duplicate gets the headers as they were: several values of one name'],

  ['that wakes nobody', () => ({
    async wait (_id, timeout, signal) {
      await setTimeout(timeout, undefined, { signal }).catch(() => {})
    }
  }), 'a waiting duplicate gets the outcome as soon as another process completes the run']
]

for (const [what, breakIt, caught] of BROKEN_STORES) {
  t.test(`a store is caught ${what}`, async (t) => {
    const store = new MemoryStore()
    const broken: Store = { ...methodsOf(store), ...breakIt(store) }
    const promise = storeContract.find(({ name }) => name === caught)
    t.ok(promise, 'there is such a case')
    // Some faults show only when a wait never ends.
    const { soon } = limits
    limits.soon = 1_000
    await t.rejects(async () => promise?.run({ store: broken, other: broken }), AssertionError)
    limits.soon = soon
    await promise?.run({ store, other: store })
  })
}

t.test('no two cases of the contract have the same name', async (t) => {
  t.equal(new Set(storeContract.map(({ name }) => name)).size, storeContract.length)
  t.ok(storeContract.length > 110, `${storeContract.length} cases`)
})

function changed ({ statusCode, response }: Outcome, change: (response: KeptResponse) => KeptResponse): Outcome {
  return { statusCode, response: response === null ? null : change(response) }
}
