import type { Test } from 'tap'
import { aClaim, anOutcome, bringTo, ID, isAbout, isRemembered, keepsAsItIs, LEASE, own, STATES } from './harness.ts'
import type { MakeStore } from './harness.ts'

export async function ownerContract (t: Test, make: MakeStore): Promise<void> {
  await t.test('a renewed lease begins anew, and so does the time until the record is forgotten', async (t) => {
    const { store, other, pass } = await make(t)
    const owned = await own(store)
    for (let i = 0; i < 3; i++) {
      await pass(ID, 20_000)
      t.equal(await store.renew(ID, owned), true)
    }
    await pass(ID, 20_000)
    const result = await other.claim(ID, aClaim())
    t.equal(result.state, 'running')
    if (result.state === 'running') isAbout(t, result.leaseLeft, LEASE, 20_000)
    isRemembered(t, await store.find(ID), 20_000)
    t.match(await store.find(ID), { state: 'running', attempt: 1 })
  })

  await t.test('a lease that ran out can be renewed as long as nobody took the key over', async (t) => {
    const { store, other, expireLease } = await make(t)
    const owned = await own(store)
    await expireLease(ID)
    t.equal(await store.renew(ID, owned), true)
    t.match(await other.claim(ID, aClaim()), { state: 'running' })
  })

  for (const state of STATES) {
    await t.test(`nobody but its owner can renew, complete or release a key that is ${state}`, async (t) => {
      const under = await make(t)
      const owned = await bringTo(state, under)
      const untouched = await keepsAsItIs(t, under)
      const stranger = { ...aClaim(), attempt: owned.attempt }
      t.equal(await under.other.renew(ID, stranger), false)
      t.equal(await under.other.complete(ID, stranger, anOutcome('a stranger’s')), false)
      t.equal(await under.other.release(ID, stranger), false)
      t.equal(await under.other.release(ID, { ...stranger, attempt: 0 }), false)
      await untouched()
    })
  }

  await t.test('a late owner changes nothing of its successor’s run', async (t) => {
    const under = await make(t)
    const { store, other, expireLease } = under
    const late = await own(store)
    await expireLease(ID)
    const successor = await own(other)
    const untouched = await keepsAsItIs(t, under)
    t.equal(await store.complete(ID, late, anOutcome('late')), false)
    t.equal(await store.release(ID, late), false)
    t.equal(await store.renew(ID, late), false)
    await untouched()
    t.equal(await other.complete(ID, successor, anOutcome('in time')), true)
    t.match(await store.claim(ID, aClaim()), { state: 'settled', attempt: 2, outcome: anOutcome('in time') })
  })

  await t.test('a late owner changes nothing of its successor’s outcome', async (t) => {
    const under = await make(t)
    const { store, other, expireLease } = under
    const late = await own(store)
    await expireLease(ID)
    await other.complete(ID, await own(other), anOutcome('in time'))
    const untouched = await keepsAsItIs(t, under)
    t.equal(await store.complete(ID, late, anOutcome('late')), false)
    t.equal(await store.release(ID, late), false)
    t.equal(await store.renew(ID, late), false)
    await untouched()
  })

  await t.test('a late owner changes nothing of a key that its successor released', async (t) => {
    const under = await make(t)
    const { store, other, expireLease } = under
    const late = await own(store)
    await expireLease(ID)
    await other.release(ID, await own(other))
    const untouched = await keepsAsItIs(t, under)
    t.equal(await store.complete(ID, late, anOutcome('late')), false)
    t.equal(await store.release(ID, late), false)
    t.equal(await store.renew(ID, late), false)
    await untouched()
  })

  await t.test('an owner whose lease ran out still settles its key as long as nobody took it over', async (t) => {
    const { store, other, expireLease } = await make(t)
    const owned = await own(store)
    await expireLease(ID)
    t.equal(await store.complete(ID, owned, anOutcome()), true)
    t.match(await other.claim(ID, aClaim()), { state: 'settled', attempt: 1 })
  })

  await t.test('completing twice succeeds twice, and whatever comes later the first outcome stays', async (t) => {
    const under = await make(t)
    const owned = await own(under.store)
    t.equal(await under.store.complete(ID, owned, anOutcome('first')), true)
    const untouched = await keepsAsItIs(t, under)
    t.equal(await under.store.complete(ID, owned, anOutcome('first')), true)
    await under.store.complete(ID, owned, anOutcome('second'))
    await untouched()
    t.match(await under.other.claim(ID, aClaim()), { state: 'settled', outcome: anOutcome('first') })
  })

  await t.test('a key is neither renewed nor released once it is settled', async (t) => {
    const under = await make(t)
    const owned = await bringTo('settled', under)
    const untouched = await keepsAsItIs(t, under)
    t.equal(await under.store.renew(ID, owned), false)
    t.equal(await under.store.release(ID, owned), false)
    t.equal(await under.store.release(ID, { ...owned, attempt: 0 }), false)
    await untouched()
  })

  await t.test('a key is neither renewed nor settled once it is released', async (t) => {
    const under = await make(t)
    const owned = await bringTo('released', under)
    const untouched = await keepsAsItIs(t, under)
    t.equal(await under.store.renew(ID, owned), false)
    t.equal(await under.store.complete(ID, owned, anOutcome()), false)
    await untouched()
    t.strictSame(await under.other.claim(ID, aClaim()), { state: 'claimed', attempt: 2 })
  })

  await t.test('releasing twice succeeds twice and changes nothing more, also when the attempt is not known', async (t) => {
    const under = await make(t)
    const owned = await own(under.store)
    t.equal(await under.store.release(ID, owned), true)
    t.match(await under.store.find(ID), { state: 'released', attempt: 1 })
    const untouched = await keepsAsItIs(t, under)
    t.equal(await under.store.release(ID, owned), true)
    t.equal(await under.store.release(ID, { ...owned, attempt: 0 }), true)
    await untouched()
  })

  await t.test('a claim whose answer never came is released without knowing its attempt, which stays', async (t) => {
    const { store, other } = await make(t)
    await store.release(ID, await own(store))
    const claim = aClaim()
    await own(store, claim)
    t.equal(await store.release(ID, { ...claim, attempt: 0 }), true)
    t.match(await store.find(ID), { state: 'released', attempt: 2 })
    t.strictSame(await other.claim(ID, aClaim()), { state: 'claimed', attempt: 3 })
  })

  await t.test('a claim that was never granted is released without leaving a record', async (t) => {
    const { store } = await make(t)
    t.equal(await store.release(ID, { ...aClaim(), attempt: 0 }), true)
    t.equal(await store.find(ID), null)
    t.strictSame(await store.claim(ID, aClaim()), { state: 'claimed', attempt: 1 })
  })

  await t.test('the owner of a record that got lost renews it, and has the key as before', async (t) => {
    const { store, other, expireRecord } = await make(t)
    await store.release(ID, await own(store))
    const owned = await own(store)
    await expireRecord(ID)
    t.equal(await store.renew(ID, owned), true)
    const found = await store.find(ID)
    t.match(found, { state: 'running', attempt: 2 })
    isAbout(t, found?.leaseLeft, LEASE)
    isRemembered(t, found)
    t.match(await other.claim(ID, aClaim()), { state: 'running' })
    t.equal(await store.complete(ID, owned, anOutcome()), true)
  })

  await t.test('the owner of a record that got lost settles it', async (t) => {
    const { store, other, expireRecord } = await make(t)
    await store.release(ID, await own(store))
    const owned = await own(store)
    await expireRecord(ID)
    t.equal(await store.complete(ID, owned, anOutcome('kept')), true)
    t.strictSame(await other.claim(ID, aClaim()), { state: 'settled', attempt: 2, outcome: anOutcome('kept') })
  })

  await t.test('the owner of a record that got lost releases it, and its attempt is remembered', async (t) => {
    const { store, other, expireRecord } = await make(t)
    await store.release(ID, await own(store))
    const owned = await own(store)
    await expireRecord(ID)
    t.equal(await store.release(ID, owned), true)
    t.match(await store.find(ID), { state: 'released', attempt: 2 })
    t.strictSame(await other.claim(ID, aClaim()), { state: 'claimed', attempt: 3 })
  })

  await t.test('the owner of a record that got lost changes nothing once somebody else claimed the key', async (t) => {
    const under = await make(t)
    const { store, other, expireRecord } = under
    const late = await own(store)
    await expireRecord(ID)
    await own(other)
    const untouched = await keepsAsItIs(t, under)
    t.equal(await store.renew(ID, late), false)
    t.equal(await store.complete(ID, late, anOutcome('late')), false)
    t.equal(await store.release(ID, late), false)
    await untouched()
  })
}
