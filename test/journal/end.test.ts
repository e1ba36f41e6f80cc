import { setTimeout as sleep } from 'node:timers/promises'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import t from 'tap'
import type { IdempotencyOutcomeEvent, Journal } from '../../plugin/index.ts'
import { build, gate, lookAfterLeasesOften, MemoryStore } from '../helper.ts'

/** A journal that has nothing, and answers only when `find` does. */
function emptyJournal (find: () => Promise<null>): Journal {
  return { record: async () => {}, find, purge: async () => false, purgeInterval: 0 }
}

const HEADERS = { 'idempotency-key': 'k' }

t.test('a handlerTimeout while the journal is asked does not turn a 408 into a run that goes on', async (t) => {
  const answering = gate()
  const journal = emptyJournal(async () => {
    await answering.opened
    return null
  })
  const { app, logged } = await build(t, { store: new MemoryStore(), journal, lease: 300 })
  lookAfterLeasesOften(app)
  app.post('/pay', { handlerTimeout: 50, config: { idempotency: true } }, (_request, reply) => {
    // The timer of `handlerTimeout` began before this one.
    setTimeout(() => { answering.open() }, 100)
    void reply.code(408).send('late')
  })
  const { statusCode, body } = await app.inject({ method: 'POST', url: '/pay', headers: HEADERS })
  t.same([statusCode, body], [408, 'late'])
  t.equal(app.idempotency.stats().running, 0)
  await sleep(400)
  t.equal(app.idempotency.stats().leasesLost, 0)
  t.notOk(logged.some(({ msg }) => /lost the key/.test(msg)))
})

t.test('a second answer while the journal is asked does not change the first one', async (t) => {
  const { app } = await build(t, { store: new MemoryStore(), journal: emptyJournal(async () => null) })
  app.post('/pay', { config: { idempotency: true } }, (_request, reply) => {
    void reply.header('x-one', '1').send('one')
    void reply.code(418).header('x-two', '2').send('two')
  })
  const request = { method: 'POST', url: '/pay', headers: HEADERS } as const
  for (const answer of [await app.inject(request), await app.inject(request)]) {
    t.same([answer.statusCode, answer.body], [200, 'one'])
    t.match(answer.headers, { 'x-one': '1' })
    t.notOk('x-two' in answer.headers)
  }
})

for (const statusCode of [200, 500]) {
  t.test(`the event of a key that is released has the status that the client gets (${statusCode})`, async (t) => {
    const journal = emptyJournal(async () => { throw new Error('away') })
    const scope = `scope of ${t.name}`
    const { app } = await build(t, { store: new MemoryStore(), journal, scope: () => scope })
    const released: unknown[] = []
    const listener = (event: unknown): void => {
      const { scope: of, statusCode } = event as IdempotencyOutcomeEvent
      if (of === scope) released.push(statusCode)
    }
    subscribe('fastify-idempotency:released', listener)
    t.teardown(() => unsubscribe('fastify-idempotency:released', listener))
    app.post('/pay', { config: { idempotency: true } }, async (_request, reply) => reply.code(statusCode).send('done'))
    const answer = await app.inject({ method: 'POST', url: '/pay', headers: HEADERS })
    t.equal(answer.statusCode, statusCode === 200 ? 503 : 500)
    t.same(released, [answer.statusCode])
  })
}
