import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import type { OwnedClaim } from '../plugin/index.ts'
import { build, clientOf, gate, holdRoute, lookAfterLeasesOften, MemoryStore, newPrefix, until } from './helper.ts'

/** Longer than any machine is busy. */
const LEASE = 60_000

t.test('a handler that takes several leases keeps the key all the while', async (t) => {
  const { app, listen, passTime } = await build(t, { lease: LEASE, onConflict: 'reject' })
  lookAfterLeasesOften(app)
  const finish = gate()
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async (request) => {
    runs++
    await finish.opened
    return { aborted: request.idempotency?.signal.aborted }
  })
  const client = await listen()
  const owner = client.post('/x', 'k')
  await until(() => runs === 1)
  for (let passed = 0; passed < 4 * LEASE; passed += LEASE / 3) {
    await passTime(LEASE / 3)
    await until(async () => ((await app.idempotency.find('k', 'global'))?.leaseLeft ?? 0) > LEASE * 2 / 3, 'a renewal')
    t.equal((await client.post('/x', 'k')).status, 409)
  }
  finish.open()
  t.same((await owner).json, { aborted: false })
  t.equal((await client.post('/x', 'k')).replayed, true)
  t.equal(runs, 1)
})

for (const onConflict of ['auto', 'reject'] as const) {
  t.test('a process that was idle gives the key of a crashed owner to the first retry, ' +
    `also with onConflict '${onConflict}'`, async (t) => {
    const store = new MemoryStore()
    const [crashed, idle] = await Promise.all([0, 1].map(() => build(t, { store, onConflict })))
    const never = gate()
    t.teardown(never.open)
    crashed?.app.post('/x', { config: { idempotency: true } }, async () => { await never.opened })
    idle?.app.post('/x', { config: { idempotency: true } }, async request => ({
      attempt: request.idempotency?.attempt
    }))
    const [a, b] = await Promise.all([crashed?.listen(), idle?.listen()])
    const lost = a?.post('/x', 'k')
    await until(() => crashed?.app.idempotency.stats().running === 1)
    await crashed?.passTime(30_000)
    const retry = await b?.post('/x', 'k')
    t.same(retry?.json, { attempt: 2 })
    never.open()
    await lost
  })
}

t.test('a retry that asked just before a process may take the key over is not refused just after', async (t) => {
  class LateStore extends MemoryStore {
    onAnswer = async (): Promise<void> => {}
    override async claim (...[id, claim]: Parameters<MemoryStore['claim']>): ReturnType<MemoryStore['claim']> {
      const result = await super.claim(id, claim)
      await this.onAnswer()
      return result
    }
  }
  const store = new LateStore()
  const { app, listen, passTime } = await build(t, { store, onConflict: 'reject', storeTimeout: 60_000 })
  const never = gate()
  t.teardown(never.open)
  app.post('/x', { config: { idempotency: true } }, async request => ({ attempt: request.idempotency?.attempt }))
  const crashed = await build(t, { store })
  crashed.app.post('/x', { config: { idempotency: true } }, async () => { await never.opened })
  const [client, lost] = [await listen(), (await crashed.listen()).post('/x', 'k')]
  await until(() => crashed.app.idempotency.stats().running === 1)
  await passTime(30_000)
  store.onAnswer = async () => {
    store.onAnswer = async () => {}
    await passTime(500)
  }
  t.same((await client.post('/x', 'k')).json, { attempt: 2 })
  never.open()
  await lost
})

t.test('a handler that is done within a third of its lease is never renewed', async (t) => {
  const { app, listen } = await build(t, { lease: 60_000 })
  app.post('/x', { config: { idempotency: true } }, async () => 'done')
  const client = await listen()
  await client.post('/x', 'k')
  t.equal(app.idempotency.stats().running, 0)
  t.equal((await client.post('/x', 'k')).replayed, true)
})

t.test('a lease is not renewed beyond maxExecution: the handler is told, and a retry runs as attempt 2', async (t) => {
  const { app, listen, logged, passTime } = await build(t, { lease: LEASE, maxExecution: LEASE, onConflict: 'reject' })
  lookAfterLeasesOften(app)
  const finish = gate()
  const attempts: number[] = []
  let reason: unknown
  app.post('/x', { config: { idempotency: true } }, async (request) => {
    const { attempt = 0, signal } = request.idempotency ?? {}
    attempts.push(attempt)
    if (attempt > 1) return 'second'
    signal?.addEventListener('abort', () => { reason = signal.reason })
    await finish.opened
    return 'first'
  })
  const client = await listen()
  const owner = client.post('/x', 'k')
  await until(() => attempts.length === 1)
  await passTime(LEASE)
  await until(() => reason !== undefined, 'the first owner being told')
  await until(async () => (await client.post('/x', 'k')).text === 'second', 'the take-over')
  t.match(reason, { name: 'LeaseLostError', code: 'FST_IDEMPOTENCY_LEASE_LOST' })
  finish.open()
  t.equal((await owner).text, 'first', 'what it did is what its client is told')
  t.equal((await client.post('/x', 'k')).text, 'second', 'but it did not touch its successor’s record')
  t.same(attempts, [1, 2])
  t.equal(app.idempotency.stats().leasesLost, 1)
  t.ok(logged.some(({ msg }) => msg.includes('changed nothing, another attempt owns the key')))
})

t.test('an owner whose key an operator forgot does not disturb the one who took it since', async (t) => {
  const { app, listen, passTime } = await build(t, { lease: LEASE, onConflict: 'reject' })
  lookAfterLeasesOften(app)
  const finishFirst = gate()
  const finishSecond = gate()
  let runs = 0
  let aborted = false
  app.post('/x', { config: { idempotency: true } }, async (request) => {
    const run = ++runs
    if (run === 1) {
      request.idempotency?.signal.addEventListener('abort', () => { aborted = true })
      await finishFirst.opened
    } else {
      await finishSecond.opened
    }
    return `run ${run}`
  })
  const client = await listen()
  const first = client.post('/x', 'k')
  await until(() => runs === 1)
  t.equal(await app.idempotency.forget('k', 'global'), true)
  const second = client.post('/x', 'k')
  await until(() => runs === 2)
  await passTime(LEASE / 3)
  await until(() => aborted, 'the first owner being told by its next renewal')
  finishFirst.open()
  t.equal((await first).text, 'run 1')
  t.equal((await client.post('/x', 'k')).status, 409)
  finishSecond.open()
  t.equal((await second).text, 'run 2')
  t.equal((await client.post('/x', 'k')).text, 'run 2')
})

t.test('a record that Redis lost while the handler ran is written again by the next renewal', async (t) => {
  const { app, listen, passTime } = await build(t, { lease: LEASE, onConflict: 'reject' })
  lookAfterLeasesOften(app)
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k')
  await route.began()
  await app.idempotency.forget('k', 'global')
  await passTime(LEASE / 3)
  await until(async () => (await app.idempotency.find('k', 'global')) !== null, 'the renewal')
  t.equal((await client.post('/x', 'k')).status, 409)
  route.finish()
  t.equal((await owner).text, 'done')
  t.equal(route.runs(), 1)
})

t.test('each key is measured by the lease of its own owner, whatever the claimer has', async (t) => {
  const keyPrefix = newPrefix()
  const finish = gate()
  let runs = 0
  const [long, short] = await Promise.all([LEASE, 100].map(async (lease) => {
    const { app } = await build(t, { keyPrefix, lease, maxExecution: 0, onConflict: 'reject' })
    app.post('/x', { config: { idempotency: true } }, async () => {
      runs++
      await finish.opened
      return 'done'
    })
    return clientOf(await app.listen({ port: 0, host: '127.0.0.1' }))
  }))
  const owner = long?.post('/x', 'k')
  await until(() => runs === 1)
  const start = performance.now()
  await until(async () => {
    t.equal((await short?.post('/x', 'k'))?.status, 409)
    return performance.now() - start > 300
  })
  finish.open()
  t.equal((await owner)?.text, 'done')
  t.equal(runs, 1)
})

t.test('leases are renewed outside of the asynchronous context of any request', async (t) => {
  const context = new AsyncLocalStorage<string>()
  const seen: Array<string | undefined> = []
  class Watched extends MemoryStore {
    override renew (id: string, owned: OwnedClaim): Promise<boolean> {
      seen.push(context.getStore())
      return super.renew(id, owned)
    }
  }
  const { app, listen, passTime } = await build(t, { store: new Watched(), lease: LEASE }, (app) => {
    app.addHook('onRequest', (_request, _reply, done) => { context.run('a request', done) })
  })
  lookAfterLeasesOften(app)
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k')
  await route.began()
  for (const renewals of [1, 2]) {
    await passTime(LEASE / 3)
    await until(() => seen.length >= renewals, 'a renewal')
  }
  route.finish()
  await owner
  t.same([...new Set(seen)], [undefined])
})
