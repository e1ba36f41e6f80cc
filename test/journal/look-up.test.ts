import t from 'tap'
import type { Test } from 'tap'
import { build } from '../helper.ts'
import { openDatabase, payRoute } from './helper.ts'
import type { Database } from './helper.ts'
import { isSameRequest } from '../../plugin/core/same-request.ts'

/** Has an effect elsewhere before it completes, which is counted. */
async function acting (t: Test, how: 'by itself' | 'always' | 'retries') {
  const database = await openDatabase(t)
  const built = await build(t, { journal: database.journal, journalLookup: how === 'by itself' ? 'retries' : how })
  const elsewhere: unknown[] = []
  built.app.post<{ Body: unknown }>('/pay', { config: { idempotency: true } }, async (request) => {
    if (how === 'by itself') await request.idempotency?.lookUp()
    elsewhere.push(request.body)
    return database.charge(async tx => request.idempotency?.complete(tx, { body: { paid: request.body } }))
  })
  return { ...built, database, elsewhere, client: await built.listen() }
}

const A = { order: 'A' }

for (const how of ['by itself', 'always'] as const) {
  const who = how === 'always' ? 'with journalLookup: \'always\'' : 'with lookUp() before it acts'
  t.test(`${who} a handler does nothing elsewhere for a key that Redis has forgotten, ` +
    'for its own request or another', async (t) => {
    const { app, client, elsewhere, database } = await acting(t, how)
    t.match(await client.post('/pay', 'k', A), { status: 200, text: '{"paid":{"order":"A"}}', replayed: false })
    await app.idempotency.forget('k', 'global')
    t.match(await client.post('/pay', 'k', { order: 'C' }), {
      status: 422,
      json: { code: 'FST_IDEMPOTENCY_KEY_REUSED' }
    })
    t.same(elsewhere, [A])
    await app.idempotency.forget('k', 'global')
    t.match(await client.post('/pay', 'k', A), { status: 200, text: '{"paid":{"order":"A"}}', replayed: true })
    t.same(elsewhere, [A])
    t.equal(await database.effects.count(), 1)
    t.match(app.idempotency.stats(), { recalled: 1, mismatches: 1 })
  })

  t.test(`${who} it is refused while the journal cannot be asked, and nothing is done elsewhere`, async (t) => {
    const { client, elsewhere, database, app } = await acting(t, how)
    await database.pool.query(`ALTER TABLE ${database.table} RENAME TO ${database.table}_away`)
    t.match(await client.post('/pay', 'k', A), { status: 503, json: { code: 'FST_IDEMPOTENCY_STORE_UNAVAILABLE' } })
    t.same(elsewhere, [])
    // An attempt counts only if its handler was let through.
    const ran = how === 'by itself'
    t.match((await app.idempotency.find('k', 'global'))?.state, ran ? 'released' : undefined)
    await database.pool.query(`ALTER TABLE ${database.table}_away RENAME TO ${database.table}`)
    t.match(await client.post('/pay', 'k', A), { status: 200, replayed: false })
    t.equal((await app.idempotency.find('k', 'global'))?.attempt, ran ? 2 : 1)
  })

  t.test(`${who} a first run costs one statement more`, async (t) => {
    const { client, database } = await acting(t, how)
    await client.post('/pay', 'warm up', A)
    const before = database.statements().length
    await client.post('/pay', 'k', A)
    t.match(database.statements().slice(before), [
      /SELECT fingerprint/,
      /^BEGIN/,
      /^INSERT INTO effects/,
      /INSERT INTO "journal/,
      /^COMMIT/,
      /SELECT fingerprint/
    ])
  })
}

t.test('without either, a handler acts elsewhere for a key that Redis has forgotten, ' +
  'and its transaction is refused', async (t) => {
  const { app, client, elsewhere, database } = await acting(t, 'retries')
  await client.post('/pay', 'k', A)
  await app.idempotency.forget('k', 'global')
  t.equal((await client.post('/pay', 'k', { order: 'C' })).status, 422)
  t.same(elsewhere, [A, { order: 'C' }])
  t.equal(await database.effects.count(), 1)
})

t.test('lookUp() says that it needs a journal, and that a replay has nothing to look up', async (t) => {
  const database: Database = await openDatabase(t)
  const { app, listen } = await build(t, { journal: database.journal })
  const errors: string[] = []
  app.post('/none', { config: { idempotency: { journal: false } } }, async (request) => {
    await request.idempotency?.lookUp().catch((error: Error) => { errors.push(error.message) })
    return 'done'
  })
  app.addHook('onSend', async (request) => {
    if (request.idempotency?.replayed === true) {
      await request.idempotency.lookUp().catch((error: Error) => {
        errors.push(error.message)
      })
    }
  })
  payRoute(app, database)
  const client = await listen()
  await client.post('/none', 'n')
  await client.post('/pay', 'k')
  await client.post('/pay', 'k')
  t.match(errors, [/lookUp\(\) needs a journal: set the option "journal"/, /a replay has nothing to look up/])
})

t.test('a request that another version of this package names otherwise is the same request', async (t) => {
  const identity = { fingerprint: 'new' }
  t.equal(isSameRequest(identity, 'new'), true)
  t.equal(isSameRequest(identity, 'old'), false)
  t.equal(isSameRequest({ ...identity, alternativeFingerprint: () => 'old' }, 'old'), true)
  t.equal(isSameRequest({ ...identity, alternativeFingerprint: () => 'older' }, 'old'), false)
})
