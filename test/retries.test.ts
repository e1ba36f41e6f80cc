import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import type { Test } from 'tap'
import { recordId } from '../plugin/core/record-id.ts'
import { startDropper } from './clients/dropper.ts'
import { Connection } from './connection.ts'
import type { RawAnswer } from './connection.ts'
import { build, connectRedis, holdRoute, newPrefix, until } from './helper.ts'
import type { HeldRoute } from './helper.ts'

// HTTP clients and proxies send a POST again by themselves when its connection breaks. For HTTP/2 see
// retries-http2.test.ts; for real clients see test/clients.

/**
 * With these options a duplicate that is held without reason hangs, and one that is held with reason is never given up.
 */
const OPTIONS = { waitTimeout: 3_600_000 }

interface Service {
  /** The addresses of two apps on one Redis, as in two processes, or twice that of one app. */
  urls: [string, string]
  route: HeldRoute
  /** The number of duplicates that are, or were, held for the owner's answer. */
  waited (): number
  /**
   * Resolves when this many runs have begun, to a function that waits until all processes can know that their clients
   * have left.
   */
  running (...keys: string[]): Promise<() => Promise<void>>
}

async function startService (t: Test, apps: 1 | 2): Promise<Service> {
  const keyPrefix = newPrefix()
  const built = await Promise.all(Array.from({ length: apps }, () => build(t, { ...OPTIONS, keyPrefix })))
  const routes = built.map(({ app }) => holdRoute(app, run => ({ run })))
  const clients = await Promise.all(built.map(({ listen }) => listen()))
  const redis = connectRedis(t)
  const records = (keys: string[]): Promise<Array<Buffer | null>> => {
    return Promise.all(keys.map(key => redis.getBuffer(keyPrefix + recordId('global', key))))
  }
  return {
    urls: [clients[0]?.url as string, clients.at(-1)?.url as string],
    route: {
      runs: () => routes.reduce((sum, { runs }) => sum + runs(), 0),
      began: () => until(() => routes.some(({ runs }) => runs() > 0), 'the first run'),
      finish: () => { for (const { finish } of routes) finish() }
    },
    waited: () => built.reduce((sum, { app }) => sum + app.idempotency.stats().waited, 0),
    async running (...keys) {
      await until(() => routes.reduce((sum, { runs }) => sum + runs(), 0) === keys.length, 'all of them running')
      const before = await records(keys)
      // A quarter of a second is allowed for that. Neither that delay nor the load of the machine is the subject here.
      return () => until(async () => {
        return (await records(keys)).every((record, index) => record?.equals(before[index] ?? record) === false)
      }, 'the mark in the record')
    }
  }
}

const noCurl = await promisify(execFile)('curl', ['--version']).then(() => false, () => 'there is no curl here')

const OWN_ANSWER: RawAnswer = { status: 200, replayed: true, body: '{"run":1}' }
const CONFLICT = { status: 409, body: /FST_IDEMPOTENCY_IN_PROGRESS/ }

for (const apps of [1, 2] as const) {
  const where = apps === 1 ? 'in its process' : 'in another process'

  for (const how of ['closed', 'reset'] as const) {
    t.test(`a POST that is sent again since its connection was ${how} gets the run's answer ${where}`, async (t) => {
      const { urls: [url, otherUrl], route, waited, running } = await startService(t, apps)
      const [first, idle] = [await Connection.open(t, url), await Connection.open(t, otherUrl)]
      first.post('k')
      const known = await running('k')
      first.cut(how)
      await known()
      idle.post('k')
      await until(() => waited() === 1, 'the duplicate waiting')
      route.finish()
      t.same(await idle.answer(), OWN_ANSWER)
      t.equal(route.runs(), 1)
    })
  }

  t.test(`seven POSTs of one call, six of which lose their connections, are one run ${where}`, async (t) => {
    const { urls, route, waited, running } = await startService(t, apps)
    const addresses = Array.from({ length: 7 }, (_, i) => urls[i % 2] as string)
    const connections = await Promise.all(addresses.map(url => Connection.open(t, url)))
    let known = async (): Promise<void> => {}
    for (const [index, connection] of connections.entries()) {
      connection.post('k')
      if (index === 0) known = await running('k')
      else await until(() => waited() === index, `POST number ${index + 1} waiting`)
      if (index < 6) connection.cut()
      await known()
    }
    route.finish()
    t.same(await connections[6]?.answer(), OWN_ANSWER)
    t.equal(route.runs(), 1)
  })

  t.test(`while the owner's client is there a duplicate is a 409, then it is held ${where}`, async (t) => {
    const { urls: [url, otherUrl], route, waited, running } = await startService(t, apps)
    const [owner, other] = [await Connection.open(t, url), await Connection.open(t, otherUrl)]
    owner.post('k')
    const known = await running('k')
    other.post('k')
    t.match(await other.answer(), CONFLICT)
    t.equal(waited(), 0)
    owner.cut()
    await known()
    other.post('k')
    await until(() => waited() === 1, 'the duplicate waiting')
    route.finish()
    t.same(await other.answer(), OWN_ANSWER)
    t.equal(route.runs(), 1)
  })

  t.test(`pipelined POSTs whose connection breaks are sent again, and get their runs' answers ${where}`, async (t) => {
    const { urls: [url, otherUrl], route, waited, running } = await startService(t, apps)
    const [first, second] = [await Connection.open(t, url), await Connection.open(t, otherUrl)]
    const keys = ['k1', 'k2', 'k3']
    for (const key of keys) first.post(key)
    const known = await running(...keys)
    first.cut()
    await known()
    for (const key of keys) second.post(key)
    await until(() => waited() === 3, 'the duplicates waiting')
    route.finish()
    for (const run of [1, 2, 3]) t.same(await second.answer(), { ...OWN_ANSWER, body: `{"run":${run}}` })
    t.equal(route.runs(), 3)
  })

  t.test(`curl called once gets one 200 of one run, though a proxy drops it ${where}`, { skip: noCurl }, async (t) => {
    const { urls, route, waited, running } = await startService(t, apps)
    let known = async (): Promise<void> => {}
    const { url, posts } = await startDropper(t, urls, () => known())
    // The first request opens the connection that curl later finds broken.
    const pressed = promisify(execFile)('curl', [
      '--silent', '--output', '/dev/null', `${url}/`, '--next', '--silent', '--write-out', '\n%{http_code}',
      '--header', 'content-type: application/json', '--header', 'idempotency-key: k', '--data', '{}', `${url}/x`
    ])
    known = await running('k')
    posts[0]?.cut()
    await until(() => waited() === 1, 'the duplicate waiting')
    route.finish()
    t.equal((await pressed).stdout, '{"run":1}\n200')
    t.equal(posts.length, 2)
    t.equal(route.runs(), 1)
  })
}
