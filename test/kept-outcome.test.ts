import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { build, connectRedis, gate, holdRoute, MemoryStore, newPrefix, until } from './helper.ts'
import type { Answer, Client, TestApp } from './helper.ts'
import { RecordUnreadableError, StoreRefusedError, StoreUnreachableError } from '../plugin/index.ts'
import { freePort } from './servers/port.ts'
import { ownRedis } from './store/own-redis.ts'
import type { OwnRedis } from './store/own-redis.ts'

// A completed run is never repeated while its process lives, whatever the store refuses, and for however long.

const LEASE = 1_500
/** Milliseconds that a client waits whose outcome is on a connection that just broke. */
const STORE_TIMEOUT = 3_000

interface Outage {
  begin (server: OwnRedis): Promise<unknown>
  end (server: OwnRedis): Promise<unknown>
}

const OUTAGES: Record<string, Outage> = {
  'is full': {
    begin: ({ admin }) => admin.config('SET', 'maxmemory', '1'),
    end: ({ admin }) => admin.config('SET', 'maxmemory', '0')
  },
  'is read-only': {
    begin: async ({ admin }) => admin.replicaof('127.0.0.1', await freePort()),
    end: ({ admin }) => admin.replicaof('NO', 'ONE')
  },
  'has no replicas to write to': {
    begin: ({ admin }) => admin.config('SET', 'min-replicas-to-write', '1'),
    end: ({ admin }) => admin.config('SET', 'min-replicas-to-write', '0')
  },
  'is killed and comes back with its data': {
    begin: server => server.stop(),
    end: server => server.start()
  }
}

interface Two {
  server: OwnRedis
  apps: TestApp[]
  clients: Client[]
  /** How many handlers were let through. */
  runs: () => number
  attempts: number[]
  finish: () => void
}

/** Two apps on one Redis that keeps its data on disk, each with a client of its own. */
async function two (t: Test, body: unknown = 'paid', options: Parameters<typeof build>[1] = {}): Promise<Two> {
  const dir = mkdtempSync(join(tmpdir(), 'test-kept-'))
  t.teardown(() => { rmSync(dir, { recursive: true, force: true }) })
  const server = await ownRedis(t, { args: ['--dir', dir, '--appendonly', 'yes', '--appendfsync', 'always'] })
  const keyPrefix = newPrefix()
  const { opened, open } = gate()
  const attempts: number[] = []
  const apps = await Promise.all([0, 1].map(async () => {
    const redis = connectRedis(t, { url: server.url })
    await until(() => redis.status === 'ready')
    const built = await build(t, { redis, keyPrefix, lease: LEASE, storeTimeout: STORE_TIMEOUT, ...options })
    built.app.post('/x', { config: { idempotency: true } }, async (request) => {
      attempts.push(request.idempotency?.attempt ?? 0)
      await opened
      return body
    })
    return built
  }))
  const clients = await Promise.all(apps.map(({ listen }) => listen()))
  return { server, apps, clients, runs: () => attempts.length, attempts, finish: open }
}

/**
 * Sends duplicates to both apps, one after the other, until `isOver` returns true for an answer. Returns all answers.
 */
async function insist (clients: Client[], isOver: (answer: Answer) => boolean): Promise<Answer[]> {
  const answers: Answer[] = []
  await until(async () => {
    const both = await Promise.all(clients.map(client => client.post('/x', 'k')))
    answers.push(...both)
    return both.every(isOver)
  }, 'the end of the outage', 60_000)
  return answers
}

for (const [what, outage] of Object.entries(OUTAGES)) {
  for (const length of ['shorter', 'longer']) {
    t.test(`a handler ends while Redis ${what}, for ${length} than the lease: ` +
      'its run is not repeated, and its retries get its answer', async (t) => {
      const { server, clients, runs, finish } = await two(t)
      const [a] = clients as [Client, Client]
      const owner = a.post('/x', 'k')
      await until(() => runs() === 1)
      await outage.begin(server)
      finish()
      t.equal((await owner).text, 'paid')
      t.match(await a.post('/x', 'k'), { text: 'paid', replayed: true }, 'in its process the outcome is known')
      const began = performance.now()
      const during = await insist(
        clients,
        () => performance.now() - began > (length === 'shorter' ? LEASE / 5 : LEASE * 1.5)
      )
      await outage.end(server)
      const after = await insist(clients, answer => answer.status === 200 || answer.text.includes('NOT_REPLAYABLE'))
      t.equal(runs(), 1)
      for (const answer of [...during, ...after]) {
        if (answer.status === 200) t.match(answer, { text: 'paid', replayed: true })
        else t.ok([409, 503].includes(answer.status), `no other answer (${answer.status})`)
      }
    })
  }
}

t.test('Redis has room for the claim and none for the response: ' +
  'the key settles without it, and never runs again', async (t) => {
  const { server, apps, clients, runs, finish } = await two(t, 'x'.repeat(500_000))
  const [a, b] = clients as [Client, Client]
  finish()
  const used = Number(/^used_memory:(\d+)/m.exec(await server.admin.info('memory'))?.[1])
  await server.admin.config('SET', 'maxmemory', String(used + 300_000))
  t.equal((await a.post('/x', 'k')).body.length, 500_000, 'the first answer is whole')
  await until(() => apps[0]?.app.idempotency.stats().pending === 0, 'the record being stored')
  for (const client of [a, b, a, b, a]) {
    t.match(await client.post('/x', 'k'), {
      status: 409,
      json: { code: 'FST_IDEMPOTENCY_NOT_REPLAYABLE', originalStatus: 200 }
    })
  }
  t.equal(runs(), 1)
  t.ok(apps[0]?.logged.some(({ level, msg }) => level === 50 && msg.includes('no room for the response')))
})

t.test('an outcome is stored as soon as the client is connected again, not after a pause', async (t) => {
  const { server, apps, clients, runs, finish } = await two(t, 'paid', { lease: 60_000 })
  const [a, b] = clients as [Client, Client]
  const owner = a.post('/x', 'k')
  await until(() => runs() === 1)
  await server.stop()
  finish()
  t.equal((await owner).text, 'paid')
  await server.start()
  await until(() => apps[0]?.app.idempotency.stats().pending === 0, 'the completion')
  await until(async () => (await b.post('/x', 'k')).replayed, 'the other process being connected too')
  t.match(await b.post('/x', 'k'), { text: 'paid', replayed: true })
  t.equal(runs(), 1)
})

t.test('those who waited for an owner get its answer when the store does not take it', async (t) => {
  const store = new MemoryStore()
  const { app, listen } = await build(t, { store, onConflict: 'wait', waitTimeout: 60_000 })
  const route = holdRoute(app)
  const client = await listen()
  const owner = client.post('/x', 'k')
  await route.began()
  const waiting = [client.post('/x', 'k'), client.post('/x', 'k')]
  await until(() => app.idempotency.stats().waiting === 2)
  const gone = async (): Promise<never> => { throw new StoreUnreachableError('gone') }
  const { claim, complete } = store
  Object.assign(store, { claim: gone, complete: gone })
  route.finish()
  t.match(await owner, { text: 'done', replayed: false })
  for (const duplicate of waiting) t.match(await duplicate, { text: 'done', replayed: true })
  t.equal(app.idempotency.stats().pending, 1, 'while the store does not have it')
  t.equal(route.runs(), 1)
  Object.assign(store, { claim, complete })
})

t.test('a claim that took the key over and let nothing run does not block an outcome kept here', async (t) => {
  const shared = new MemoryStore()
  let isGone = false
  const store = new Proxy(shared, {
    get (target, name) {
      const method: unknown = Reflect.get(target, name)
      return typeof method !== 'function'
        ? method
        : async (...args: unknown[]): Promise<unknown> => {
          if (isGone) throw new StoreUnreachableError('gone')
          return Reflect.apply(method, target, args)
        }
    }
  })
  const options = { lease: 500, onConflict: 'wait', waitTimeout: 60_000 } as const
  const [one, two] = await Promise.all([store, shared].map(store => build(t, { store, ...options })))
  if (one === undefined || two === undefined) return
  const routes = [holdRoute(one.app, () => 'paid'), holdRoute(two.app, () => 'paid again')] as const
  const [a, b] = await Promise.all([one.listen(), two.listen()])
  const owner = a.post('/x', 'k')
  await routes[0].began()
  isGone = true
  const leaves = new AbortController()
  const waiter = fetch(`${b.url}/x`, {
    method: 'POST',
    headers: { 'idempotency-key': 'k' },
    signal: leaves.signal
  }).catch(() => 'left')
  const waiting = (): number => two.app.idempotency.stats().waiting
  await until(() => waiting() === 1)
  const claim = shared.claim.bind(shared)
  shared.claim = async (...args) => {
    const result = await claim(...args)
    if (result.state === 'claimed') {
      leaves.abort()
      await until(() => waiting() === 0, 'the server seeing the client leave')
    }
    return result
  }
  routes[0].finish()
  t.equal((await owner).text, 'paid')
  t.equal(await waiter, 'left')
  await until(
    async () => (await two.app.idempotency.find('k', 'global'))?.state === 'released',
    'the claim being undone'
  )
  shared.claim = claim
  isGone = false
  await until(() => one.app.idempotency.stats().pending === 0)
  routes[1].finish()
  t.match(await b.post('/x', 'k'), { text: 'paid', replayed: true })
})

t.test('an outcome that was given up, since it would not be kept any longer, is let go of', async (t) => {
  const store = new MemoryStore()
  const { app, listen } = await build(t, { store, retention: 100 })
  app.post('/x', { config: { idempotency: true } }, async () => 'paid')
  const client = await listen()
  store.complete = async () => { throw new StoreUnreachableError('gone') }
  t.equal((await client.post('/x', 'k')).text, 'paid')
  await until(() => app.idempotency.stats().pending === 0)
  t.equal(app.idempotency.stats().running, 0)
})

t.test('while the outcome is kept here, another body with the key is still another request', async (t) => {
  const store = new MemoryStore()
  const { app, listen } = await build(t, { store })
  app.post('/x', { config: { idempotency: true } }, async () => 'paid')
  const client = await listen()
  const { complete } = store
  store.complete = async () => { throw new Error('gone') }
  t.equal((await client.post('/x', 'k', { amount: 1 })).text, 'paid')
  t.equal((await client.post('/x', 'k', { amount: 2 })).json.code, 'FST_IDEMPOTENCY_KEY_REUSED')
  t.match(await client.post('/x', 'k', { amount: 1 }), { text: 'paid', replayed: true })
  store.complete = complete
})

t.test('an app that closes says in its log which outcomes the store did not take', async (t) => {
  const store = new MemoryStore()
  const { app, listen, logged } = await build(t, { store })
  app.post('/x', { config: { idempotency: true } }, async () => 'paid')
  const client = await listen()
  store.complete = async () => { throw new Error('gone') }
  t.equal((await client.post('/x', 'k')).text, 'paid')
  await app.close()
  t.ok(logged.some(({ level, msg }) => level === 50 && msg.includes('the completion is not in the store')))
})

t.test('an app that closes stores what fits of an outcome that the store refuses', async (t) => {
  const store = new MemoryStore()
  const { app, listen } = await build(t, { store })
  app.post('/x', { config: { idempotency: true } }, async () => 'paid')
  const client = await listen()
  const complete = store.complete.bind(store)
  store.complete = async (id, owned, outcome) => {
    if (outcome.response !== null) throw new StoreRefusedError('too large')
    return complete(id, owned, outcome)
  }
  t.equal((await client.post('/x', 'k')).text, 'paid')
  await app.close()
  t.match(await app.idempotency.find('k', 'global'), { state: 'settled', statusCode: 200, response: null })
})

t.test('an outcome whose key has a record that cannot be read is not tried for ever', async (t) => {
  const store = new MemoryStore()
  const { app, listen, logged } = await build(t, { store, closeTimeout: 60_000 })
  app.post('/x', { config: { idempotency: true } }, async () => 'paid')
  const client = await listen()
  const unreadable = async (): Promise<never> => { throw new RecordUnreadableError('of version 9') }
  store.complete = unreadable
  store.renew = unreadable
  t.equal((await client.post('/x', 'k')).text, 'paid')
  await until(() => app.idempotency.stats().pending === 0, 'the end of all tries')
  t.equal(app.idempotency.stats().running, 0, 'and closing does not wait for it')
  t.ok(logged.some(({ level, msg }) => level === 50 && msg.includes('a record that this version cannot read')))
})
