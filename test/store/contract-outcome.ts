import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import type { KeptResponse, Outcome } from '../../plugin/store/store.ts'
import { aClaim, anOutcome, ID, isAbout, isRemembered, LEASE, own, RETENTION } from './harness.ts'
import type { MakeStore } from './harness.ts'

const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))

const BODIES: Array<[what: string, body: string | Buffer]> = [
  ['empty', Buffer.alloc(0)],
  ['one zero byte', Buffer.of(0)],
  ['every byte there is', EVERY_BYTE],
  ['text', '{"to":"größer €12 支払い 💸\\n\n\n"}'],
  ['no text', ''],
  ['JSON', Buffer.from('{"id":"ord_1","paid":true}')],
  ['text of many scripts', Buffer.from('Zahlung €12 ✓ 支払い済み 💸\r\n')],
  ['500 KB of noise', randomBytes(500 * 1024)]
]

const HEADERS: Array<[what: string, headers: KeptResponse['headers']]> = [
  ['none', []],
  ['one', [['content-type', 'application/json; charset=utf-8']]],
  ['several values of one name', [['link', ['</a>; rel="next"', '</b>; rel="prev"']], ['vary', 'origin']]],
  ['one that the run removed', [['x-powered-by', null], ['etag', '"a\\b"']]],
  ['beyond ASCII', [['x-note', 'bezahlt: 12 €, größer, 支払い 💸']]],
  ['an empty value', [['x-empty', '']]],
  ['what Node.js would refuse to send', [['x-a\\', 'a\nx-b: 1\n\n\\n'], ['x-c', ['\\', '\n']]]]
]

export async function outcomeContract (t: Test, make: MakeStore): Promise<void> {
  for (const [what, body] of BODIES) {
    await t.test(`a duplicate gets the body byte for byte: ${what}`, async (t) => {
      await isKept(t, make, { statusCode: 200, response: { headers: [], body } })
    })
  }

  for (const [what, headers] of HEADERS) {
    await t.test(`a duplicate gets the headers as they were: ${what}`, async (t) => {
      await isKept(t, make, { statusCode: 200, response: { headers, body: Buffer.from('body') } })
    })
  }

  for (const statusCode of [200, 201, 204, 302, 404, 422, 599]) {
    await t.test(`a duplicate gets the status ${statusCode}`, async (t) => {
      await isKept(t, make, { statusCode, response: { headers: [], body: EVERY_BYTE } })
    })
  }

  await t.test('a response that could not be kept leaves its status, and never runs again', async (t) => {
    const { store, other } = await isKept(t, make, { statusCode: 202, response: null })
    t.match(await other.claim(ID, aClaim()), { state: 'settled', outcome: { statusCode: 202, response: null } })
    t.equal(await store.complete(ID, { ...aClaim(), attempt: 1 }, anOutcome()), false)
  })

  await t.test('an outcome is kept for its retention, counted from its completion', async (t) => {
    const { store, other, pass } = await make(t)
    const owned = await own(store)
    await pass(ID, 25_000)
    await store.complete(ID, owned, anOutcome())
    isAbout(t, (await store.find(ID))?.expiresIn, RETENTION)
    await pass(ID, RETENTION - 10_000)
    t.match(await other.claim(ID, aClaim()), { state: 'settled' }, 'kept until shortly before')
    await pass(ID, 10_000)
    t.equal(await store.find(ID), null)
    t.strictSame(await other.claim(ID, aClaim()), { state: 'claimed', attempt: 1 }, 'the key is new again')
  })

  await t.test('a replay does not prolong the retention', async (t) => {
    const { store, other, pass } = await make(t)
    await store.complete(ID, await own(store), anOutcome())
    await pass(ID, 60_000)
    t.match(await other.claim(ID, aClaim()), { state: 'settled' })
    isAbout(t, (await store.find(ID))?.expiresIn, RETENTION, 60_000)
  })

  await t.test('a released key remembers its attempt for the retention, counted from the release', async (t) => {
    const { store, pass } = await make(t)
    const owned = await own(store)
    await pass(ID, 25_000)
    await store.release(ID, owned)
    isRemembered(t, await store.find(ID))
    await pass(ID, RETENTION - 10_000)
    t.match(await store.find(ID), { state: 'released', attempt: 1 })
    await pass(ID, LEASE + 10_000)
    t.equal(await store.find(ID), null)
  })

  await t.test('a retention shorter than the lease does not cut the lease short', async (t) => {
    const { store, other, pass } = await make(t)
    const owned = await own(store, aClaim({ retention: 8_000 }))
    await pass(ID, 20_000)
    const result = await other.claim(ID, aClaim())
    t.equal(result.state, 'running')
    if (result.state === 'running') isAbout(t, result.leaseLeft, LEASE, 20_000)
    t.equal(await store.renew(ID, owned), true)
    await pass(ID, 20_000)
    t.match(await other.claim(ID, aClaim()), { state: 'running' }, 'nor a renewed one')
    t.equal(await store.complete(ID, owned, anOutcome()), true)
    isAbout(t, (await store.find(ID))?.expiresIn, 8_000)
    await pass(ID, 8_000)
    t.equal(await store.find(ID), null, 'the outcome is kept for the retention only')
  })

  await t.test('an operator sees a key that nobody used as nothing', async (t) => {
    const { store } = await make(t)
    t.equal(await store.find(ID), null)
    t.equal(await store.forget(ID), false)
  })

  await t.test('an operator sees a running key, and what is left of its lease', async (t) => {
    const { store, other, pass, expireLease } = await make(t)
    await own(store)
    await pass(ID, 10_000)
    const found = await other.find(ID)
    t.match(found, { state: 'running', attempt: 1, outcome: null })
    isAbout(t, found?.leaseLeft, LEASE, 10_000)
    isRemembered(t, found, 10_000)
    await expireLease(ID)
    t.match(await other.find(ID), { state: 'running', attempt: 1, leaseLeft: 0 })
  })

  await t.test('an operator sees a released and a settled key, which have no lease', async (t) => {
    const { store, other } = await make(t)
    await store.release(ID, await own(store))
    t.match(await other.find(ID), { state: 'released', attempt: 1, leaseLeft: null, outcome: null })
    await store.complete(ID, await own(store), anOutcome('seen', 404))
    t.match(await other.find(ID), { state: 'settled', attempt: 2, leaseLeft: null, outcome: anOutcome('seen', 404) })
  })

  for (const end of ['running', 'released', 'settled'] as const) {
    await t.test(`an operator erases a key that is ${end}, once`, async (t) => {
      const { store, other } = await make(t)
      const owned = await own(store)
      if (end === 'released') await store.release(ID, owned)
      if (end === 'settled') await store.complete(ID, owned, anOutcome())
      t.equal(await other.forget(ID), true)
      t.equal(await store.find(ID), null)
      t.equal(await other.forget(ID), false)
    })
  }
}

/** Completes a run with `outcome`, and checks that a claim and a look of another process find the same. */
async function isKept (t: Test, make: MakeStore, outcome: Outcome): ReturnType<MakeStore> {
  const under = await make(t)
  const expected = structuredCloneOf(outcome)
  t.equal(await under.store.complete(ID, await own(under.store), outcome), true)
  const result = await under.other.claim(ID, aClaim())
  t.equal(result.state, 'settled')
  const found = await under.other.find(ID)
  for (const kept of [result.state === 'settled' ? result.outcome : null, found?.outcome]) {
    t.equal(kept?.statusCode, expected.statusCode)
    t.strictSame(kept?.response?.headers, expected.response?.headers)
    // One comparison of two strings, where tap would list half a million bytes.
    t.equal(hexOf(kept) === hexOf(expected), true, 'the same bytes')
  }
  return under
}

function hexOf (outcome: Outcome | null | undefined): string | undefined {
  const body = outcome?.response?.body
  return body === undefined ? undefined : Buffer.from(body as string).toString('hex')
}

function structuredCloneOf ({ statusCode, response }: Outcome): Outcome {
  if (response === null) return { statusCode, response }
  return { statusCode, response: { headers: structuredClone(response.headers), body: Buffer.from(response.body as string) } }
}
