import { randomUUID } from 'node:crypto'
import t from 'tap'
import { putClockForward } from '../clock.ts'
import { build, connectRedis, gate, lookAfterLeasesOften, until } from '../helper.ts'
import { ownRedis } from '../store/own-redis.ts'
import { listen } from './given.ts'
import { readPage } from './markdown.ts'
import { testPage } from './run.ts'

const page = await readPage('docs/semantics.md')

/** The names in the first column of the table whose head begins with this text. */
function membersIn (head: string): string[] {
  const [, table = ''] = page.text.split(`| ${head} |`)
  const rows = table.split('\n\n', 1)[0]?.split('\n').slice(2) ?? []
  return rows.flatMap(row => [...(row.split('|')[1] ?? '').matchAll(/`(\w+)`/g)].map(([, name]) => name as string))
}

await testPage('docs/semantics.md', {
  async 'An operator’s view' (t, { protectedApp }) {
    protectedApp.post('/x', { config: { idempotency: true } }, async () => 'done')
    const { url, post, get } = await listen(t, protectedApp)
    await post('/x', 'k')
    const found = (await get('/admin/keys/alice/k')).json
    t.match(found, { state: 'settled', attempt: 1, statusCode: 200 })
    t.same(Object.keys(found).sort(), membersIn('member of what `find` shows').sort())
    const stats = (await get('/admin/stats')).json
    t.equal(stats.completed, 1)
    t.same(Object.keys(stats).sort(), membersIn('member of `stats()`').sort())
    t.same(await (await fetch(`${url}/admin/keys/alice/k`, { method: 'DELETE' })).json(), { forgotten: true })
    t.equal((await get('/admin/keys/alice/k')).status, 404)
  }
})

t.test('the commands that access lists are said to need are enough, those of waiters too', async (t) => {
  const [, sentence = ''] = /^Access lists need ([\s\S]+?)\.\n/m.exec(page.text) ?? []
  const commands = [...sentence.matchAll(/`([A-Z]+)`/g)].map(([, name]) => `+${name}`)
  const [username, password, keyPrefix] = ['app', randomUUID(), 'billing:']
  const { admin, port } = await ownRedis(t)
  await admin.call('ACL', 'SETUSER', username, 'on', `>${password}`, `~${keyPrefix}*`, `&${keyPrefix}*`, ...commands)
  const url = `redis://${username}:${password}@127.0.0.1:${port}`
  const redis = connectRedis(t, { url })
  const options = { keyPrefix, onConflict: 'wait', waitTimeout: 120_000, lease: 60_000 } as const
  const { app, listen } = await build(t, { ...options, redis })
  lookAfterLeasesOften(app)
  const forward = putClockForward(t)
  const { opened, open } = gate()
  app.post('/held', { config: { idempotency: true } }, async () => { await opened })
  app.post('/failing', { config: { idempotency: true } }, async () => { throw new Error('failed') })
  const client = await listen()

  const first = client.post('/held', 'k')
  await until(async () => (await app.idempotency.find('k', 'global')) !== null, 'the first run')
  // Only who waits for an owner in another process asks Redis to be woken.
  const elsewhere = await build(t, { ...options, redis: connectRedis(t, { url }) })
  elsewhere.app.post('/held', { config: { idempotency: true } }, async () => {})
  const waiting = await elsewhere.listen()
  await admin.config('RESETSTAT')
  const second = waiting.post('/held', 'k')
  await until(async () => (await admin.info('commandstats')).includes('cmdstat_setrange'), 'the mark')
  let least = Infinity
  await until(async () => {
    forward(20_000)
    const left = (await app.idempotency.find('k', 'global'))?.leaseLeft ?? 0
    least = Math.min(least, left)
    return left > least
  }, 'a renewal')
  open()
  t.same([(await first).status, (await second).replayed], [200, true])
  t.same(
    [await client.post('/failing', 'f'), await client.post('/failing', 'f')].map(({ status }) => status),
    [500, 500]
  )
  t.equal(await app.idempotency.forget('k', 'global'), true)
  for (const { idempotency } of [app, elsewhere.app]) t.equal(idempotency.stats().storeErrors, 0)
  const denied = await admin.call('ACL', 'LOG') as unknown[][]
  t.same(
    denied.map(entry => entry[entry.indexOf('object') + 1]).filter(what => what !== 'config|get'),
    [],
    'nothing was denied but what may be'
  )
})
