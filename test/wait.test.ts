import t from 'tap'
import { build, connectRedis, gate, holdRoute, MemoryStore, newPrefix, until } from './helper.ts'
import type { TestApp } from './helper.ts'
import { ownRedis } from './store/own-redis.ts'

/** Two apps on one key space, so that the owner and its duplicates can be in different apps. */
async function two (
  t: Parameters<typeof build>[0], stored: string, optionsOfFirst: Parameters<typeof build>[1] = {}
): Promise<[TestApp, TestApp]> {
  const shared = stored === 'memory' ? { store: new MemoryStore() } : { keyPrefix: newPrefix() }
  const all = { ...shared, onConflict: 'wait' as const, waitTimeout: 120_000 }
  return [await build(t, { ...all, ...optionsOfFirst }), await build(t, all)]
}

for (const stored of ['Redis', 'memory']) {
  t.test(`duplicates that wait get the owner's answer, in its process and in another (${stored})`, async (t) => {
    const apps = await two(t, stored)
    const finish = gate()
    let runs = 0
    for (const { app } of apps) {
      app.post('/x', { config: { idempotency: true } }, async () => {
        runs++
        await finish.opened
        return { charged: runs }
      })
    }
    const [a, b] = await Promise.all([apps[0].listen(), apps[1].listen()])
    const answers = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? a : b).post('/x', 'k'))
    await until(
      () => apps[0].app.idempotency.stats().waited + apps[1].app.idempotency.stats().waited === 19,
      'all waiting'
    )
    finish.open()
    const settled = await Promise.all(answers)
    for (const answer of settled) t.equal(answer.text, '{"charged":1}')
    t.equal(settled.filter(answer => answer.replayed === false).length, 1)
    t.equal(runs, 1)
  })

  t.test('one waiting duplicate runs when the owner releases the key, ' +
    `and the others get its answer (${stored})`, async (t) => {
    const apps = await two(t, stored)
    const fail = gate()
    const attempts: number[] = []
    for (const { app } of apps) {
      app.post('/x', { config: { idempotency: true } }, async (request) => {
        attempts.push(request.idempotency?.attempt ?? 0)
        if (attempts.length > 1) return 'done'
        await fail.opened
        throw new Error('failed')
      })
    }
    const [a, b] = await Promise.all([apps[0].listen(), apps[1].listen()])
    const owner = a.post('/x', 'k')
    await until(() => attempts.length === 1)
    const duplicates = Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? a : b).post('/x', 'k'))
    await until(
      () => apps[0].app.idempotency.stats().waited + apps[1].app.idempotency.stats().waited === 10,
      'all waiting'
    )
    fail.open()
    t.equal((await owner).status, 500)
    t.same((await Promise.all(duplicates)).map(answer => answer.text), Array.from({ length: 10 }, () => 'done'))
    t.same(attempts, [1, 2])
  })

  t.test(`a duplicate that waits takes over when the owner's lease runs out (${stored})`, async (t) => {
    // `maxExecution` 0: a lease that nobody renews is what a crashed owner leaves behind.
    const [owner, duplicate] = await two(t, stored, { lease: 300, maxExecution: 0 })
    const never = gate()
    t.teardown(() => never.open())
    const attempts: number[] = []
    for (const { app } of [owner, duplicate]) {
      app.post('/x', { config: { idempotency: true } }, async (request) => {
        attempts.push(request.idempotency?.attempt ?? 0)
        if (attempts.length === 1) await never.opened
        return 'done'
      })
    }
    const [a, b] = await Promise.all([owner.listen(), duplicate.listen()])
    const first = a.post('/x', 'k').catch(() => {})
    await until(() => attempts.length === 1)
    t.equal((await b.post('/x', 'k')).text, 'done')
    t.same(attempts, [1, 2])
    never.open()
    await first
  })
}

t.test('a duplicate that waited for waitTimeout in vain is told to come back', async (t) => {
  const { app, listen } = await build(t, { onConflict: 'wait', waitTimeout: 150, retryAfter: 7 })
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k')
  await route.began()
  const start = performance.now()
  const duplicate = await client.post('/x', 'k')
  t.equal(duplicate.status, 409)
  t.equal(duplicate.json.code, 'FST_IDEMPOTENCY_IN_PROGRESS')
  t.equal(duplicate.headers.get('retry-after'), '7')
  t.ok(performance.now() - start >= 150, 'it did wait')
  route.finish()
  t.equal((await owner).text, 'done')
})

t.test('another request with the key of one that runs is a 422 at once, not after a wait', async (t) => {
  const { app, listen } = await build(t, { onConflict: 'wait' })
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k', { amount: 1 })
  await route.began()
  t.equal((await client.post('/x', 'k', { amount: 2 })).status, 422)
  t.equal(app.idempotency.stats().waited, 0)
  route.finish()
  t.equal((await owner).status, 200)
})

t.test('an app that closes does not keep those who wait for an owner in another process', async (t) => {
  const store = new MemoryStore()
  const [owning, waiting] = await Promise.all([0, 1].map(() => {
    return build(t, { store, onConflict: 'wait', waitTimeout: 60_000, server: { forceCloseConnections: 'idle' } })
  })) as [TestApp, TestApp]
  const route = holdRoute(owning.app)
  holdRoute(waiting.app)
  const [a, b] = await Promise.all([owning.listen(), waiting.listen()])
  const owner = a.post('/x', 'k')
  await route.began()
  const duplicate = b.post('/x', 'k')
  await until(() => waiting.app.idempotency.stats().waiting === 1)
  const closed = waiting.app.close()
  t.equal((await duplicate).status, 409)
  await closed
  route.finish()
  t.equal((await owner).text, 'done')
})

t.test('what Redis is asked grows with the processes, not with those who wait', async (t) => {
  const server = await ownRedis(t)
  const asked: Array<Record<string, number>> = []
  for (const waiters of [2, 200]) {
    const options = { keyPrefix: `${waiters}:`, onConflict: 'wait', waitTimeout: 60_000 } as const
    const [owning, waiting] = await Promise.all([0, 1].map(() => {
      return build(t, { ...options, redis: connectRedis(t, { url: server.url }) })
    })) as [TestApp, TestApp]
    const route = holdRoute(owning.app, () => 'done')
    holdRoute(waiting.app)
    const [a, b] = await Promise.all([owning.listen(), waiting.listen()])
    await server.forgetCommands()
    const owners = ['k', 'other'].map(key => a.post('/x', key))
    await until(() => route.runs() === 2)
    // This opens the connection that wakes waiters, which is not counted here.
    const other = b.post('/x', 'other')
    await until(async () => (await server.commands()).setrange !== undefined, 'the mark')
    await server.forgetCommands()
    const duplicates = Array.from({ length: waiters }, () => b.post('/x', 'k'))
    await until(() => waiting.app.idempotency.stats().waited === 1 + waiters, 'all waiting')
    await until(async () => (await server.commands()).setrange === 1, 'the mark')
    route.finish()
    for (const answer of await Promise.all([...owners, other, ...duplicates])) t.equal(answer.text, 'done')
    t.equal(route.runs(), 2)
    // Redis does not know a script yet when it is called for the first time.
    const { eval: _unknown, ...commands } = await server.commands()
    asked.push(commands)
    await server.forgetCommands()
  }
  t.same(asked[1], asked[0])
})

t.test('those who wait in the owner’s own process cost Redis one look, however many they are', async (t) => {
  const server = await ownRedis(t)
  const { app, listen } = await build(t, {
    redis: connectRedis(t, { url: server.url }),
    onConflict: 'wait',
    waitTimeout: 60_000
  })
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k')
  await route.began()
  await server.forgetCommands()
  const duplicates = Array.from({ length: 200 }, () => client.post('/x', 'k'))
  await until(() => app.idempotency.stats().waiting === 200)
  const { set, evalsha = 0, eval: unknown = 0 } = await server.commands()
  t.same({ set, scripts: Math.max(evalsha, unknown) }, { set: 1, scripts: 1 }, 'one claim, which found the owner')
  route.finish()
  for (const answer of await Promise.all([owner, ...duplicates])) t.equal(answer.text, 'done')
  t.equal((await server.commands()).set, 3, 'the outcome was stored, and looked at once')
})

t.test('when the store fails all who wait for one key are told at once', async (t) => {
  const store = new MemoryStore()
  const { app, listen } = await build(t, { store, onConflict: 'wait', waitTimeout: 60_000 })
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k')
  await route.began()
  const duplicates = Array.from({ length: 5 }, () => client.post('/x', 'k'))
  await until(() => app.idempotency.stats().waited === 5, 'all waiting')
  const { claim } = store
  store.claim = async () => { throw new Error('gone') }
  route.finish()
  t.equal((await owner).status, 200)
  for (const answer of await Promise.all(duplicates)) t.equal(answer.json.code, 'FST_IDEMPOTENCY_STORE_UNAVAILABLE')
  store.claim = claim
  t.equal((await client.post('/x', 'k')).replayed, true)
})
