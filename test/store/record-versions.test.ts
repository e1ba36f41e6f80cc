import { randomBytes } from 'node:crypto'
import t from 'tap'
import type { Test } from 'tap'
import { recordId } from '../../plugin/core/record-id.ts'
import { newOwner } from '../../plugin/store-contract/fixtures.ts'
import type { RecordVersion } from '../../plugin/store/record.ts'
import type { Claim, Outcome } from '../../plugin/store/store.ts'
import { connectRedis, newPrefix } from '../helper.ts'
import { layOut, missing, startEarlier } from './earlier.ts'
import type { Process } from './earlier.ts'
import { aClaim, ANOTHER_REQUEST, anOutcome, ID, ONE_REQUEST, openStore, viewOf, waitFor } from './harness.ts'
import type { RedisView } from './harness.ts'

/*
 * A rolling change of the record's version, in its two steps: a release that read version 1 only is replaced by one
 * that writes version 1 and reads both; then by the same one which writes version 2. The earlier release is the real
 * one, in a process of its own.
 */

/** The two fingerprints of one request, one for each version. */
interface Request { 1: string, 2: string }
const ONE: Request = { 1: ONE_REQUEST, 2: Buffer.alloc(32, 0xf2).toString('base64url') }
const ANOTHER: Request = { 1: ANOTHER_REQUEST, 2: Buffer.alloc(32, 0x0f).toString('base64url') }

interface Versioned extends Process { writes: RecordVersion }

interface Deployment extends RedisView {
  keyPrefix: string
  earlier (): Versioned
  now (recordVersion: RecordVersion): Versioned
}

function deployment (t: Test): Deployment {
  const keyPrefix = newPrefix()
  const redis = connectRedis(t, { prefix: keyPrefix })
  let release: string | undefined
  return {
    keyPrefix,
    earlier () {
      release ??= layOut(t)
      return { ...startEarlier(t, release, keyPrefix), writes: 1 }
    },
    now (recordVersion) {
      const store = openStore(t, connectRedis(t), keyPrefix, { recordVersion })
      return {
        name: `this one, writing version ${recordVersion}`,
        writes: recordVersion,
        claim: store.claim.bind(store),
        renew: store.renew.bind(store),
        complete: store.complete.bind(store),
        release: store.release.bind(store),
        wait: (id, timeout) => store.wait(id, timeout, new AbortController().signal),
        find: store.find.bind(store)
      }
    },
    ...viewOf(redis, keyPrefix)
  }
}

function claimOf ({ writes }: Versioned, request: Request, more: Partial<Claim> = {}): Claim {
  return aClaim({ fingerprint: request[writes], alternativeFingerprint: () => request[writes === 1 ? 2 : 1], ...more })
}

type Pair = [what: string, open: (deployment: Deployment) => [Versioned, Versioned], needsEarlier: boolean]
const PAIRS: Pair[] = [
  ['an earlier release, then this one writing version 1', at => [at.earlier(), at.now(1)], true],
  ['this one writing version 1, then an earlier release', at => [at.now(1), at.earlier()], true],
  ['version 1, then version 2', at => [at.now(1), at.now(2)], false],
  ['version 2, then version 1', at => [at.now(2), at.now(1)], false],
  ['an earlier release, then this one writing version 2', at => [at.earlier(), at.now(2)], true]
]
const KEPT = anOutcome('{"paid":"ü"}')
const NOTHING_KEPT: Outcome = { statusCode: 202, response: null }

for (const [what, open, needsEarlier] of PAIRS) {
  t.test(`side by side: ${what}`, { skip: needsEarlier && missing() }, async (t) => {
    const at = deployment(t)
    const [first, second] = open(at)
    let keys = 0
    const newKey = (): string => recordId('global', `key ${++keys}`)

    t.test('a duplicate of what is settled gets its outcome, and another request a mismatch', async (t) => {
      for (const outcome of [KEPT, NOTHING_KEPT]) {
        const id = newKey()
        const claim = claimOf(first, ONE)
        t.match(await first.claim(id, claim), { state: 'claimed', attempt: 1 })
        t.equal(await first.complete(id, { ...claim, attempt: 1 }, outcome), true)
        const found = await second.claim(id, claimOf(second, ONE))
        t.match(found, { state: 'settled', attempt: 1, outcome: { statusCode: outcome.statusCode } })
        if (found.state === 'settled') t.equal(bodyOf(found.outcome), bodyOf(outcome))
        t.match(await second.claim(id, claimOf(second, ANOTHER)), { state: 'mismatch' })
        t.match(await second.find(id), { state: 'settled', attempt: 1 })
      }
    })

    t.test('a duplicate of what is running waits for it, and its owner is not disturbed', async (t) => {
      const id = newKey()
      const claim = claimOf(first, ONE)
      await first.claim(id, claim)
      const owned = { ...claim, attempt: 1 }
      t.match(await second.claim(id, claimOf(second, ONE)), { state: 'running' })
      t.match(await second.claim(id, claimOf(second, ANOTHER)), { state: 'mismatch' })
      const { ended } = await waitFor(() => second.wait(id, 600_000), () => at.isAwaited(id))
      t.equal(await first.renew(id, owned), true)
      t.equal(await first.complete(id, owned, KEPT), true)
      await ended
      t.match(await second.claim(id, claimOf(second, ONE)), { state: 'settled' })
    })

    t.test('what was released or fell silent is taken over, as the next attempt, ' +
      'and the late owner changes nothing', async (t) => {
      for (const end of ['released', 'silent'] as const) {
        const id = newKey()
        const claim = claimOf(first, ONE)
        await first.claim(id, claim)
        const late = { ...claim, attempt: 1 }
        if (end === 'released') t.equal(await first.release(id, late), true)
        else await at.expireLease(id)
        t.match(await second.claim(id, claimOf(second, ANOTHER)), { state: 'mismatch' })
        const successor = claimOf(second, ONE)
        t.match(await second.claim(id, successor), { state: 'claimed', attempt: 2 })
        const refused = first.complete(id, late, anOutcome('late'))
        // An earlier release cannot read what was added later, and says so.
        if (first.name === 'an earlier release' && second.writes === 2) {
          await t.rejects(refused, /not a record of version 1/)
        } else {
          t.equal(await refused, false)
        }
        t.equal(await second.complete(id, { ...successor, attempt: 2 }, KEPT), true)
        t.match(await second.find(id), { state: 'settled', attempt: 2 })
      }
    })
  })
}

t.test('without the other fingerprint every record of the other version is another request’s, ' +
  'and stays as it is', async (t) => {
  const at = deployment(t)
  const [one, two] = [at.now(1), at.now(2)]
  const claim = claimOf(one, ONE)
  await one.claim(ID, claim)
  const before = await at.stored(ID)
  const { alternativeFingerprint: _none, ...without } = claimOf(two, ONE)
  t.strictSame(await two.claim(ID, without), { state: 'mismatch' })
  await at.expireLease(ID)
  t.strictSame(await two.claim(ID, without), { state: 'mismatch' })
  t.equal(await at.stored(ID), before)
})

t.test('the other fingerprint is asked for only if there is a record of the other version', async (t) => {
  const at = deployment(t)
  const two = at.now(2)
  const claim = claimOf(two, ONE, { alternativeFingerprint: () => { throw new Error('asked') } })
  t.match(await two.claim(ID, claim), { state: 'claimed', attempt: 1 })
  t.match(await two.claim(ID, { ...claim, owner: newOwner() }), { state: 'running' })
  await at.expireLease(ID)
  t.match(await two.claim(ID, { ...claim, owner: newOwner() }), { state: 'claimed', attempt: 2 })
})

for (const version of [1, 2] as const) {
  t.test(`an owner of version ${version} renews, marks, releases and withdraws its record ` +
    'with a store that writes the other', async (t) => {
    const at = deployment(t)
    const owner = at.now(version)
    const other = openStoreOf(t, at, version === 1 ? 2 : 1)
    const claim = claimOf(owner, ONE)
    await owner.claim(ID, claim)
    const owned = { ...claim, attempt: 1 }
    t.equal(await other.renew(ID, owned), true)
    t.equal(await other.markLeft(ID, owned), true)
    t.match(await owner.claim(ID, claimOf(owner, ONE)), { state: 'running', ownerLeft: true })
    t.equal(await other.release(ID, owned), true)
    const second = claimOf(owner, ONE)
    t.match(await owner.claim(ID, second), { state: 'claimed', attempt: 2 })
    t.equal(await other.withdraw(ID, second), true)
    t.match(await owner.claim(ID, claimOf(owner, ONE)), { state: 'claimed', attempt: 2 })
  })
}

t.test('during both steps of a rolling change nothing runs twice, ' +
  'and every duplicate is answered', { skip: missing() }, async (t) => {
  const at = deployment(t)
  const steps = [
    [at.earlier(), at.earlier()],
    [at.earlier(), at.now(1)],
    [at.now(1), at.now(1)],
    [at.now(1), at.now(2)],
    [at.now(2), at.now(2)]
  ]
  const runs = new Map<string, number>()
  const ids: string[] = []
  const request = async (process: Versioned, id: string): Promise<string> => {
    for (;;) {
      const claim = claimOf(process, ONE)
      const result = await process.claim(id, claim)
      if (result.state === 'mismatch') throw new Error(`${process.name} takes a duplicate for another request`)
      if (result.state === 'settled') return bodyOf(result.outcome)
      if (result.state === 'running') {
        await process.wait(id, result.leaseLeft)
        continue
      }
      runs.set(id, (runs.get(id) ?? 0) + 1)
      await process.complete(id, { ...claim, attempt: result.attempt }, anOutcome(`done for ${id}`))
      return `done for ${id}`
    }
  }
  for (const processes of steps) {
    for (let i = 0; i < 20; i++) ids.push(randomBytes(32).toString('base64url'))
    // This includes keys of earlier steps: their retries reach the processes that are there now.
    await Promise.all(ids.flatMap(id => [...processes, ...processes].map(async (process) => {
      const answer = await request(process, id)
      if (answer !== `done for ${id}`) t.fail(`${process.name} answers ${answer}`)
    })))
  }
  t.equal(runs.size, 100)
  t.ok([...runs.values()].every(times => times === 1), 'each of them ran once')
})

/** A store with all methods, beside the others. */
function openStoreOf (t: Test, at: Deployment, recordVersion: RecordVersion): ReturnType<typeof openStore> {
  return openStore(t, connectRedis(t), at.keyPrefix, { recordVersion })
}

function bodyOf ({ response }: Outcome): string {
  return response === null ? 'nothing was kept' : Buffer.from(response.body as string).toString()
}
