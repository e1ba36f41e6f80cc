import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { clientOf, until } from '../helper.ts'
import { payAndLeave } from './leave.ts'
import { startWorld } from './start.ts'
import type { Service } from './start.ts'

const world = await startWorld(t)
const { provider } = world
/** The process that remains when another one has ended. */
const next = await world.start()

/** Asks a process to end, and waits until it takes no new connections. */
async function tellToEnd (service: Service, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  service.kill(signal)
  await until(() => service.stdout().includes('"msg":"closing"'), 'the signal having arrived')
  const { hostname, port } = new URL(service.url)
  await until(async () => {
    const socket = connect(Number(port), hostname)
    const taken = await once(socket, 'connect').then(() => true, () => false)
    socket.destroy()
    return !taken
  }, 'its port being closed', 60_000)
}

interface Answer {
  status: number | undefined
  connection: string | undefined
  body: string
}

/** Sends a POST over the connections of an agent. */
async function post (url: string, agent: Agent, key: string): Promise<Answer> {
  const headers = { 'idempotency-key': key, 'content-type': 'application/json' }
  const sent = request(url, { method: 'POST', agent, headers })
  sent.end('{}')
  const [response] = await once(sent, 'response') as [IncomingMessage]
  return { status: response.statusCode, connection: response.headers.connection, body: await text(response) }
}

// close-with-grace treats SIGUSR2 as a shutdown too.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGUSR2'] as const) {
  t.test(`a process that gets ${signal} first ends and stores what runs, though its client has left`, async (t) => {
    const service = await world.start({ lease: 6_000 })
    const key = randomUUID()
    await payAndLeave(world, service, key)
    await tellToEnd(service, signal)
    if (signal === 'SIGTERM') {
      // A third of the lease later it is renewed, which a process that has ended would not do.
      let lowest = Infinity
      await until(async () => {
        const { leaseLeft } = await next.find(key)
        if (!(Number(leaseLeft) > 0)) throw new Error('the key has no owner any more')
        lowest = Math.min(lowest, Number(leaseLeft))
        return Number(leaseLeft) > lowest
      }, 'the lease being renewed while the process closes', 60_000)
    }
    provider.answer(key)
    t.equal(await service.ended, 0)
    t.match(service.stdout(), '"msg":"closed"')
    const retry = await clientOf(next.url).post('/pay', key, {})
    t.same({ status: retry.status, replayed: retry.replayed }, { status: 200, replayed: true })
    t.equal(provider.charges(key), 1)
  })
}

t.test('after closeTimeout a process ends all the same, says what it leaves, and the retry is attempt 2', async (t) => {
  const service = await world.start({ closeTimeout: 100, lease: 1_000 })
  const key = randomUUID()
  await payAndLeave(world, service, key)
  service.kill('SIGTERM')
  t.equal(await service.ended, 0)
  t.match(service.stdout(), /the app closes while this run still owns its key/)
  provider.answer(key)
  const client = clientOf(next.url)
  await until(async () => (await client.post('/pay', key, {})).status === 200, 'the retry being let through', 60_000)
  t.match(await next.find(key), { state: 'settled', attempt: 2 })
  t.equal(provider.charges(key), 2)
})

t.test('a process that is told to end finishes what app.idempotency.run() does, and keeps its value', async (t) => {
  const service = await world.start()
  const key = randomUUID()
  t.equal((await clientOf(service.url).post(`/jobs/${key}`)).status, 202)
  await provider.asked(key)
  await tellToEnd(service)
  provider.answer(key)
  t.equal(await service.ended, 0)
  t.match(await next.find(key, 'jobs'), { state: 'settled', attempt: 1, response: /"charge":1/ })
  const { replayed } = await next.stats()
  t.equal((await clientOf(next.url).post(`/jobs/${key}`)).status, 202)
  await until(async () => (await next.stats()).replayed > replayed, 'the second call getting the first one’s value')
  t.equal(provider.charges(key), 1)
})

t.test('keep-alive clients do not keep a process from ending: while it closes it says Connection: close', async (t) => {
  const service = await world.start()
  const agent = new Agent({ keepAlive: true, maxSockets: 100 })
  t.teardown(() => agent.destroy())
  const keys = Array.from({ length: 20 }, () => randomUUID())
  const pathOf = (key: string, index: number): string => index % 2 === 0 ? '/pay' : `/unprotected/${key}`
  const answers = keys.map((key, index) => post(service.url + pathOf(key, index), agent, key))
  await Promise.all(keys.map(provider.asked))
  await tellToEnd(service)
  keys.forEach(key => provider.answer(key))
  for (const { status, connection } of await Promise.all(answers)) {
    t.same({ status, connection }, { status: 200, connection: 'close' })
  }
  // Its keep-alive timeout is an hour.
  t.equal(await service.ended, 0)
})

t.test('a thousand who wait for an owner in the process that is told to end get its answer', async (t) => {
  const service = await world.start({ onConflict: 'wait', waitTimeout: 3_600_000 })
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity })
  t.teardown(() => agent.destroy())
  const key = randomUUID()
  const answers = Array.from({ length: 1_000 }, () => post(`${service.url}/pay`, agent, key))
  await until(async () => (await service.stats()).waited === 999, 'all others waiting', 60_000)
  await tellToEnd(service)
  provider.answer(key)
  const settled = await Promise.all(answers)
  t.same(new Set(settled.map(({ status }) => status)), new Set([200]))
  t.same(new Set(settled.map(({ body }) => body)), new Set([settled[0]?.body]))
  t.same(new Set(settled.map(({ connection }) => connection)), new Set(['close']))
  t.equal(provider.charges(key), 1)
  t.equal(await service.ended, 0)
})
