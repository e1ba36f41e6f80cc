import assert from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import type { Test } from 'tap'
import { MemoryStore } from '../../plugin/store/memory.ts'
import type { MemoryStoreOptions } from '../../plugin/store/memory.ts'
import type { Store } from '../../plugin/store/store.ts'
import { storeContract } from './contract.ts'
import { aClaim, ANOTHER_REQUEST, anOutcome, own, putClockForward, RETENTION } from './harness.ts'

/** The size that the store counts for a record, besides its response. */
const RECORD = 512

storeContract(t, 'MemoryStore', async () => {
  const store = new MemoryStore()
  return { store, other: store }
})

/** Runs `id` to its end, with a response that counts as `size` bytes together with its record. */
async function settle (store: Store, id: string, size = RECORD): Promise<void> {
  const outcome = { statusCode: 200, response: { headers: [], body: Buffer.alloc(size - RECORD) } }
  await store.complete(id, await own(store, aClaim(), id), outcome)
}

async function statesOf (store: Store, ids: string[]): Promise<Array<string | undefined>> {
  return Promise.all(ids.map(async id => (await store.find(id))?.state))
}

t.test('where room is short, what settled first is forgotten first', async (t) => {
  const store = new MemoryStore({ maxSize: RECORD * 3 })
  for (const id of ['a', 'b', 'c']) await settle(store, id)
  t.strictSame(
    await statesOf(store, ['a', 'b', 'c']),
    ['settled', 'settled', 'settled'],
    'all of what there is room for'
  )
  await settle(store, 'd')
  t.strictSame(await statesOf(store, ['a', 'b', 'c', 'd']), [undefined, 'settled', 'settled', 'settled'])
})

t.test('it is the completion that counts, not the claim', async (t) => {
  const store = new MemoryStore({ maxSize: RECORD * 3 })
  const slow = await own(store, aClaim(), 'slow')
  await settle(store, 'fast')
  await store.complete('slow', slow, { statusCode: 204, response: null })
  await own(store, aClaim(), 'new')
  await own(store, aClaim(), 'newer')
  t.strictSame(await statesOf(store, ['slow', 'fast']), ['settled', undefined])
})

t.test('a large response makes room for itself, and no more room than it needs', async (t) => {
  const store = new MemoryStore({ maxSize: RECORD * 10 })
  for (let i = 0; i < 10; i++) await settle(store, `small ${i}`)
  await settle(store, 'large', RECORD * 4)
  const states = await statesOf(store, [...Array(10).keys()].map(i => `small ${i}`))
  t.strictSame(states, [...Array<undefined>(4).fill(undefined), ...Array<string>(6).fill('settled')])
  t.match(await store.find('large'), { state: 'settled' })
})

t.test('the headers of a response take room as well', async (t) => {
  const store = new MemoryStore({ maxSize: RECORD * 3 })
  await settle(store, 'first')
  const owned = await own(store, aClaim(), 'second')
  await store.complete('second', owned, {
    statusCode: 200,
    response: { headers: [['link', 'x'.repeat(RECORD + 1)]], body: Buffer.alloc(0) }
  })
  t.strictSame(await statesOf(store, ['first', 'second']), [undefined, 'settled'])
})

t.test('what runs is never dropped, however little room is left', async (t) => {
  const store = new MemoryStore({ maxSize: RECORD * 3 })
  const running = await own(store, aClaim(), 'running')
  for (let i = 0; i < 20; i++) await settle(store, `settled ${i}`)
  t.match(await store.find('running'), { state: 'running', attempt: 1 })
  t.match(await store.claim('running', aClaim()), { state: 'running' })
  t.equal(await store.complete('running', running, anOutcome()), true)
})

t.test('released keys make room as well', async (t) => {
  const store = new MemoryStore({ maxSize: RECORD * 2 })
  await store.release('released', await own(store, aClaim(), 'released'))
  for (const id of ['a', 'b']) await own(store, aClaim(), id)
  t.strictSame(await statesOf(store, ['released', 'a', 'b']), [undefined, 'running', 'running'])
})

t.test('where all that is kept still runs, a new run is refused and those that run go on', async (t) => {
  const store = new MemoryStore({ maxSize: RECORD * 2 })
  const first = await own(store, aClaim(), 'first')
  const second = await own(store, aClaim(), 'second')
  await t.rejects(store.claim('third', aClaim()), {
    message: /^MemoryStore: no room for another record: "maxSize" is 1024 bytes/
  })
  t.equal(await store.find('third'), null)
  t.match(await store.claim('first', aClaim()), { state: 'running' }, 'duplicates are answered')
  t.match(await store.claim('first', aClaim({ fingerprint: ANOTHER_REQUEST })), { state: 'mismatch' })
  t.equal(await store.renew('first', first), true)
  t.equal(
    await store.complete('first', first, anOutcome('x'.repeat(RECORD * 4))),
    true,
    'what ran is kept even if it takes more room'
  )
  t.match(await store.claim('first', aClaim()), { state: 'settled' })
  t.equal(await store.release('second', second), true)
  t.match(await store.claim('third', aClaim()), { state: 'claimed', attempt: 1 }, 'there is room again')
})

t.test('an owner whose record got lost has its key again, also where no room is left', async (t) => {
  const store = new MemoryStore({ maxSize: RECORD * 2 })
  const owned = await own(store, aClaim(), 'lost')
  await store.forget('lost')
  for (const id of ['a', 'b']) await own(store, aClaim(), id)
  t.equal(await store.renew('lost', owned), true)
  t.match(await store.claim('lost', aClaim()), { state: 'running' })
})

t.test('room that is given back is counted: records come and go for long', async (t) => {
  const store = new MemoryStore({ maxSize: RECORD * 4 })
  for (let i = 0; i < 200; i++) {
    const owned = await own(store, aClaim(), `${i}`)
    await store.renew(`${i}`, owned)
    if (i % 3 === 0) await store.release(`${i}`, owned)
    else await store.complete(`${i}`, owned, { statusCode: 200, response: { headers: [], body: Buffer.alloc(i) } })
    if (i % 5 === 0) await store.forget(`${i}`)
  }
  for (const id of ['a', 'b', 'c', 'd']) t.match(await store.claim(id, aClaim()), { state: 'claimed' })
  await t.rejects(store.claim('e', aClaim()), 'and not one more')
})

async function expired (t: Test, id: string): Promise<MemoryStore> {
  const forward = putClockForward(t)
  const store = new MemoryStore({ maxSize: RECORD * 2 })
  await own(store, aClaim(), id)
  await own(store, aClaim({ retention: RETENTION * 10 }), 'lasting')
  forward(RETENTION * 2)
  return store
}

t.test('records whose time is over make room before anything else, also running ones', async (t) => {
  const store = await expired(t, 'over')
  t.match(await store.claim('new', aClaim()), { state: 'claimed', attempt: 1 })
  t.strictSame(await statesOf(store, ['over', 'lasting', 'new']), [undefined, 'running', 'running'])
  await t.rejects(store.claim('newer', aClaim()))
})

t.test('a running record whose time is over makes room even if it began after one that lasts', async (t) => {
  const forward = putClockForward(t)
  const store = new MemoryStore({ maxSize: RECORD * 2 })
  await own(store, aClaim({ retention: RETENTION * 10 }), 'lasting')
  await own(store, aClaim(), 'over')
  forward(RETENTION * 2)
  t.match(await store.claim('new', aClaim()), { state: 'claimed', attempt: 1 })
  t.strictSame(await statesOf(store, ['lasting', 'over', 'new']), ['running', undefined, 'running'])
})

t.test('a released key whose claim is refused for want of room stays released, with its attempts', async (t) => {
  const store = new MemoryStore({ maxSize: RECORD * 2 })
  const lost = await own(store, aClaim(), 'lost')
  await store.forget('lost')
  await own(store, aClaim(), 'a')
  const released = await own(store, aClaim(), 'b')
  await store.renew('lost', lost)
  await store.release('b', released)
  await t.rejects(store.claim('b', aClaim()), { name: 'StoreRefusedError' })
  t.match(await store.find('b'), { state: 'released', attempt: 1 })
})

t.test('a record whose time is over is gone for who looks at it', async (t) => {
  const store = await expired(t, 'over')
  t.equal(await store.find('over'), null)
  t.equal(await store.forget('over'), false)
  t.match(await store.claim('over', aClaim({ fingerprint: ANOTHER_REQUEST })), { state: 'claimed', attempt: 1 })
})

/** Bytes around the limits of a segment, which has 128 KiB, and of a value that gets a Buffer of its own. */
const aSize = fc.oneof(fc.nat(300), fc.nat(40_000), fc.constantFrom(5_400, 5_461, 16_300, 16_384, 131_072, 200_000))
const aText = fc.tuple(aSize, fc.constantFrom('x', 'é', '€', '😀', '\n', '\n\n')).map(([size, one]) => one.repeat(size))
const aBody = fc.oneof(aText, aSize.map(size => Buffer.alloc(size, 'bytes\n\n\xff', 'latin1')))
const aHeaderValue = fc.oneof(
  fc.constant(null), fc.string(), fc.array(fc.string(), { minLength: 2, maxLength: 3 }), fc.constant('a\nb: c\\n\n\n')
)
const aHeader = fc.oneof(
  fc.tuple(fc.constantFrom('content-type', 'link', 'x-empty'), aHeaderValue),
  fc.constant<[string, null]>([':text', null])
)
const someHeaders = fc.uniqueArray(aHeader, { maxLength: 4, selector: ([name]) => name })
const aResponse = fc.record({ headers: someHeaders, body: aBody }, { noNullPrototype: true })
const someOutcomes = fc.array(fc.record({
  statusCode: fc.integer({ min: 200, max: 599 }),
  response: fc.option(aResponse)
}, { noNullPrototype: true }))

t.test('whatever the sizes of the responses, each comes back as it was kept', async () => {
  await fc.assert(fc.asyncProperty(someOutcomes, async (outcomes) => {
    const store = new MemoryStore()
    for (const [i, outcome] of outcomes.entries()) {
      await store.complete(`${i}`, await own(store, aClaim(), `${i}`), outcome)
    }
    for (const [i, outcome] of outcomes.entries()) {
      const found = await store.claim(`${i}`, aClaim())
      if (found.state !== 'settled') throw new Error(`${i} is ${found.state}`)
      assert.deepStrictEqual(found.outcome, outcome)
    }
  }), { numRuns: 60 })
})

for (const size of [100, 50_000]) {
  t.test(`a body of ${size} bytes that is changed after it was kept or replayed is kept as it was`, async (t) => {
    const store = new MemoryStore()
    const body = Buffer.alloc(size, 'a')
    await store.complete('id', await own(store, aClaim(), 'id'), { statusCode: 200, response: { headers: [], body } })
    await settle(store, 'neighbour', RECORD + size)
    const bodyNow = async (): Promise<unknown> => (await store.find('id'))?.outcome?.response?.body
    body.fill('b')
    t.same(await bodyNow(), Buffer.alloc(size, 'a'))
    const replayed = await bodyNow()
    if (Buffer.isBuffer(replayed)) replayed.fill('c')
    t.same(await bodyNow(), Buffer.alloc(size, 'a'))
    const neighbour = (await store.find('neighbour'))?.outcome?.response?.body
    t.same(neighbour, Buffer.alloc(size))
  })
}

t.test('two stores share nothing', async (t) => {
  const [one, another] = [new MemoryStore(), new MemoryStore()]
  await settle(one, 'id')
  t.match(await another.claim('id', aClaim()), { state: 'claimed', attempt: 1 })
})

for (const maxSize of [0, -1, 511, 1.5, NaN, Infinity, '1mb', null]) {
  t.test(`a maxSize of ${String(maxSize)} is refused, and said why`, async (t) => {
    t.throws(() => new MemoryStore({ maxSize } as MemoryStoreOptions), {
      name: 'IdempotencyOptionError',
      message: /^MemoryStore: option "maxSize" must be a whole number of bytes from 512 to \d+, got /
    })
  })
}

t.test('an option that a memory store does not have is refused', async (t) => {
  const options = { maxsize: 1024 } as MemoryStoreOptions
  t.throws(() => new MemoryStore(options), {
    name: 'IdempotencyOptionError',
    message: 'MemoryStore: unknown option "maxsize"; known is maxSize'
  })
})

t.test('without options there is room for 64 MiB', async (t) => {
  const store = new MemoryStore()
  const body = Buffer.alloc(16 * 1024 * 1024 - RECORD)
  for (const id of ['a', 'b', 'c', 'd', 'e']) {
    await store.complete(id, await own(store, aClaim(), id), { statusCode: 200, response: { headers: [], body } })
  }
  t.strictSame(await statesOf(store, ['a', 'b', 'c', 'd', 'e']), [
    undefined, 'settled', 'settled', 'settled', 'settled'
  ])
})
