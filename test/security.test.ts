import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import t from 'tap'
import { build, connectRedis, gate, lookAfterLeasesOften, newPrefix, until } from './helper.ts'
import { startRedis } from './servers/redis.ts'
import { ownRedis } from './store/own-redis.ts'
import type { OwnRedis } from './store/own-redis.ts'

t.test('keys, scopes, bodies, answers and credentials never reach a log, whatever happens', async (t) => {
  const server = await startRedis()
  t.teardown(() => server.stop())
  const redis = connectRedis(t, { url: server.url, retryStrategy: () => 20 })
  await until(() => redis.status === 'ready')
  const lines: string[] = []
  const { app, listen, passTime } = await build(t, {
    redis,
    lease: 60_000,
    onConflict: 'reject',
    maxExecution: 0,
    scope: () => 'sentinel-scope',
    server: { logger: { level: 'trace', stream: { write: (line: string) => { lines.push(line) } } } }
  })
  const finish = gate()
  let runs = 0
  const handler = async (): Promise<unknown> => {
    if (++runs === 1) await finish.opened
    return { answer: 'sentinel-answer' }
  }
  app.post('/x', { config: { idempotency: true } }, handler)
  app.post('/bypass', { config: { idempotency: { onStoreError: 'bypass' } } }, handler)
  app.post('/fails', { config: { idempotency: true } }, async () => { throw new Error('failed') })
  lookAfterLeasesOften(app)
  const client = await listen()
  const post = (path = '/x', key: string | null = 'sentinel-key', body: unknown = { card: 'sentinel-body' }) =>
    client.post(path, key, body, { authorization: 'Bearer sentinel-token' })

  // The key is taken over while the handler runs, so that the first owner comes too late.
  const late = post()
  await until(() => runs === 1)
  t.equal((await post()).status, 409)
  await passTime(60_000)
  await until(async () => (await post()).status === 200)
  finish.open()
  await late
  const statuses = [
    await post(),
    await post('/x', 'sentinel-key', { card: 'sentinel-other-body' }),
    await post('/x', '"sentinel-key'),
    await post('/x', null),
    await post('/fails', 'sentinel-key-2')
  ].map(({ status }) => status)
  t.same(statuses, [200, 422, 400, 400, 500])
  await server.kill()
  t.same([(await post()).status, (await post('/bypass', 'sentinel-key-3')).status], [503, 200])
  await app.close()

  const text = lines.join('')
  for (const expected of [
    'another attempt owns the key', 'request is refused', 'runs unprotected', 'the lease of 60000 ms ran out'
  ]) {
    t.ok(text.includes(expected), `logged: ${expected}`)
  }
  t.notMatch(text, /sentinel/)
})

t.test('a key or scope made to break out of a name, a script or a pattern is a key like any other', async (t) => {
  const keyPrefix = newPrefix()
  const { app, listen } = await build(t, {
    keyPrefix,
    scope: request => decodeURIComponent(String(request.headers['x-scope']))
  })
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => `run ${++runs}`)
  const client = await listen()
  const hostile = [
    '*',
    '{slot}',
    `${keyPrefix}*`,
    "'..redis.call('FLUSHALL')..'",
    '\\r\\nFLUSHALL\\r\\n',
    '../../etc',
    '__proto__',
    'constructor',
    '%00',
    '$(id)',
    '{{7*7}}'
  ]
  for (const value of hostile) {
    const scope = encodeURIComponent(value === '%00' ? '\0\r\n*' : value)
    const first = await client.post('/x', value, undefined, { 'x-scope': scope })
    t.equal(first.text, `run ${runs}`, value)
    const second = await client.post('/x', value, undefined, { 'x-scope': scope })
    t.equal(second.text, first.text, value)
    t.equal(second.replayed, true, value)
  }
  t.equal(runs, hostile.length)
  const redis = connectRedis(t, { prefix: keyPrefix })
  t.equal((await redis.keys(`${keyPrefix}*`)).length, hostile.length)
})

const CARD = '4111111111111111'

/** What goes wrong with Redis while a handler runs, and with the completion that follows. */
const REFUSALS: Record<string, (server: OwnRedis) => Promise<unknown>> = {
  'is full': ({ admin }) => admin.config('SET', 'maxmemory', '1'),
  'forbids scripts': ({ admin }) => admin.acl('SETUSER', 'default', '-evalsha', '-eval'),
  'does not know scripts': ({ admin }) => admin.acl('SETUSER', 'default', '-@scripting'),
  'lost the connection': ({ admin }) => admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'),
  'is gone': server => server.stop()
}

for (const [what, refuse] of Object.entries(REFUSALS)) {
  t.test(`no log line, event or error tells what was sent to a Redis that ${what}`, async (t) => {
    const server = await ownRedis(t)
    const lines: string[] = []
    const seen: unknown[] = []
    const hear = (event: unknown): void => { seen.push((event as { error: Error }).error) }
    subscribe('fastify-idempotency:storeFailed', hear)
    t.teardown(() => unsubscribe('fastify-idempotency:storeFailed', hear))
    const { app, listen } = await build(t, {
      redis: connectRedis(t, { url: server.url, retryStrategy: () => 20 }),
      keyPrefix: newPrefix(),
      storeTimeout: 500,
      errors: 'error-handler',
      server: { logger: { level: 'trace', stream: { write: (line: string) => { lines.push(line) } } } }
    })
    app.setErrorHandler((error, request, reply) => {
      seen.push(error)
      request.log.error({ err: error }, 'failed')
      return reply.send(error)
    })
    const finish = gate()
    let began = false
    app.post('/x', { config: { idempotency: true } }, async () => {
      began = true
      await finish.opened
      return { card: CARD }
    })
    const client = await listen()
    const first = client.post('/x', CARD, { card: CARD })
    await until(() => began)
    await refuse(server)
    finish.open()
    t.equal((await first).json.card, CARD)
    await client.post('/x', `${CARD}-2`, { card: CARD })
    const told =
      lines.join('') +
      seen.map(error => inspect(error, { depth: 10, showHidden: true }) + JSON.stringify(error)).join('\n')
    if (what !== 'lost the connection') t.match(told, /could not be stored/)
    t.notMatch(told, CARD)
    t.notMatch(told, 'redis.call', 'nor the scripts')
    t.notMatch(told, /"args"|args:/, 'nor arguments')
  })
}
