import { createHook } from 'node:async_hooks'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { setImmediate as immediate } from 'node:timers/promises'
import t from 'tap'
import { build, connectRedis, gate, holdRoute, MemoryStore, newPrefix, until } from './helper.ts'

// Which contenders wait, how many, and which no longer wait.

async function leavable (url: string, key: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(
    `POST /x HTTP/1.1\r\nhost: x\r\nidempotency-key: ${key}\r\ncontent-type: text/plain\r\n` +
      'content-length: 4\r\n\r\nbody'
  )
  return socket
}

for (const stored of ['Redis', 'memory']) {
  t.test(`duplicates whose clients have left neither wait nor run when the owner fails (${stored})`, async (t) => {
    const shared = stored === 'memory' ? { store: new MemoryStore() } : { keyPrefix: newPrefix() }
    const apps = await Promise.all([0, 1].map(() => build(t, { ...shared, onConflict: 'wait', waitTimeout: 60_000 })))
    const fail = gate()
    let runs = 0
    for (const { app } of apps) {
      app.post('/x', { config: { idempotency: true } }, async () => {
        if (++runs > 1) return 'done'
        await fail.opened
        throw new Error('failed')
      })
    }
    const [a, b] = await Promise.all(apps.map(({ listen }) => listen()))
    const waiting = (): number => apps.reduce((sum, { app }) => sum + app.idempotency.stats().waiting, 0)
    const owner = a?.post('/x', 'k', 'body')
    await until(() => runs === 1)
    const sockets = await Promise.all(
      Array.from({ length: 30 }, (_, i) => leavable((i % 2 === 0 ? a : b)?.url ?? '', 'k'))
    )
    await until(() => waiting() === 30, 'all waiting')
    for (const socket of sockets) socket.destroy()
    await until(() => waiting() === 0, 'nobody waiting any more')
    fail.open()
    t.equal((await owner)?.status, 500)
    const retry = await b?.post('/x', 'k', 'body')
    t.equal(retry?.text, 'done')
    t.equal(runs, 2, 'nothing ran for those who had left')
  })
}

t.test('a duplicate whose client leaves in the moment in which it gets the key does not run', async (t) => {
  const store = new MemoryStore()
  const { app, listen } = await build(t, { store, onConflict: 'wait', waitTimeout: 60_000 })
  const route = holdRoute(app, (run) => { if (run === 1) throw new Error('failed') })
  const client = await listen()
  const owner = client.post('/x', 'k', 'body')
  await route.began()
  const socket = await leavable(client.url, 'k')
  await until(() => app.idempotency.stats().waiting === 1)
  const claim = store.claim.bind(store)
  store.claim = async (...args) => {
    const result = await claim(...args)
    if (result.state === 'claimed') {
      socket.destroy()
      await until(() => app.idempotency.stats().waiting === 0, 'the server seeing the client leave')
    }
    return result
  }
  route.finish()
  t.equal((await owner).status, 500)
  await until(async () => (await app.idempotency.find('k', 'global'))?.state === 'released', 'the key being given back')
  t.equal(route.runs(), 1)
  t.equal((await app.idempotency.find('k', 'global'))?.attempt, 1, 'and nothing was counted')
})

for (const [option, keys] of [['maxWaitersPerKey', ['k', 'k', 'k']], ['maxWaiters', ['k', 'l', 'k']]] as const) {
  t.test(`beyond ${option} a duplicate gets a 409 at once`, async (t) => {
    const { app, listen } = await build(t, { onConflict: 'wait', waitTimeout: 60_000, [option]: 2 })
    const route = holdRoute(app)
    const client = await listen()
    const owners = ['k', 'l'].map(key => client.post('/x', key))
    await until(() => route.runs() === 2)
    const held: Array<ReturnType<typeof client.post>> = []
    for (const [i, key] of keys.slice(0, 2).entries()) {
      held.push(client.post('/x', key))
      await until(() => app.idempotency.stats().waiting === i + 1)
    }
    t.equal((await client.post('/x', keys[2])).json.code, 'FST_IDEMPOTENCY_IN_PROGRESS')
    route.finish()
    for (const answer of await Promise.all([...owners, ...held])) t.equal(answer.text, 'done')
    t.equal(app.idempotency.stats().waiting, 0)
  })
}

for (const where of ['in its process', 'in another process']) {
  t.test(`those who wait for one owner after another wait without a loop (${where})`, async (t) => {
    const store = new MemoryStore()
    let asked = 0
    const claim = store.claim.bind(store)
    store.claim = (...args) => {
      asked++
      return claim(...args)
    }
    const built = await Promise.all([0, 1].map(() => build(t, { store, waitTimeout: 60_000 })))
    const gates = [gate(), gate()]
    let runs = 0
    let hasLeft = false
    for (const { app } of built) {
      app.post('/x', { config: { idempotency: true } }, async (request) => {
        const run = runs++
        request.raw.socket.once('close', () => { hasLeft = true })
        await gates[run]?.opened
        if (run === 0) throw new Error('failed')
        return 'done'
      })
    }
    const [a, b] = await Promise.all(built.map(({ listen }) => listen()))
    const waited = (): number => built.reduce((sum, { app }) => sum + app.idempotency.stats().waited, 0)
    const owner = await leavable(a?.url ?? '', 'k')
    await until(() => runs === 1)
    owner.destroy()
    await until(() => hasLeft)
    const first = a?.post('/x', 'k', 'body')
    await until(() => waited() === 1)
    const second = (where === 'in its process' ? a : b)?.post('/x', 'k', 'body')
    await until(() => waited() === 2)
    gates[0]?.open()
    await until(() => runs === 2)
    asked = 0
    let timers = 0
    const hook = createHook({ init (_id, type) { if (type === 'Timeout') timers++ } }).enable()
    const began = performance.now()
    while (performance.now() - began < 500) await immediate()
    hook.disable()
    t.ok(asked <= 2, `${asked} questions`)
    t.ok(timers <= 10, `${timers} timers`)
    gates[1]?.open()
    t.same((await Promise.all([first, second])).map(answer => answer?.text), ['done', 'done'])
  })
}

t.test('a store whose wait ends at once is not asked in a loop without a pause', async (t) => {
  const store = new MemoryStore()
  let asked = 0
  const claim = store.claim.bind(store)
  store.claim = (...args) => {
    asked++
    return claim(...args)
  }
  store.wait = async () => {}
  const [owner, other] = await Promise.all(
    [0, 1].map(() => build(t, { store, onConflict: 'wait', waitTimeout: 60_000 }))
  )
  const finish = gate()
  for (const built of [owner, other]) {
    built?.app.post('/x', { config: { idempotency: true } }, async () => {
      await finish.opened
      return 'done'
    })
  }
  const [a, b] = await Promise.all([owner?.listen(), other?.listen()])
  const first = a?.post('/x', 'k')
  await until(() => owner?.app.idempotency.stats().running === 1)
  const began = performance.now()
  const duplicate = b?.post('/x', 'k')
  await until(() => performance.now() - began > 500)
  const rate = asked / (performance.now() - began) * 1_000
  t.ok(rate < 100, `${Math.round(rate)} a second`)
  finish.open()
  t.equal((await first)?.text, 'done')
  t.equal((await duplicate)?.text, 'done')
})

t.test('a store whose wait never ends holds nobody for longer than waitTimeout, and is asked again', async (t) => {
  const store = new MemoryStore()
  store.wait = async () => { await new Promise(() => {}) }
  const [owner, other] = await Promise.all([0, 1].map(() => build(t, { store, onConflict: 'wait', waitTimeout: 50 })))
  if (owner === undefined || other === undefined) return
  const route = holdRoute(owner.app)
  holdRoute(other.app)
  const [a, b] = await Promise.all([owner.listen(), other.listen()])
  const first = a.post('/x', 'k')
  await route.began()
  t.equal((await b.post('/x', 'k')).status, 409)
  route.finish()
  t.equal((await first).text, 'done')
  t.match(await b.post('/x', 'k'), { text: 'done', replayed: true })
})

t.test('waiters on Redis of one key cost one question a process, however many they are', async (t) => {
  const redis = connectRedis(t)
  const { app, listen } = await build(t, { redis, keyPrefix: newPrefix(), onConflict: 'wait', waitTimeout: 60_000 })
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k')
  await route.began()
  const held = Array.from({ length: 100 }, () => client.post('/x', 'k'))
  await until(() => app.idempotency.stats().waiting === 100)
  route.finish()
  for (const answer of await Promise.all([owner, ...held])) t.equal(answer.text, 'done')
  t.equal(route.runs(), 1)
})
