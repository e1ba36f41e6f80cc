import { until } from '../helper.ts'
import { listen } from './given.ts'
import { readPage } from './markdown.ts'
import { testPage } from './run.ts'
import t from 'tap'

await testPage('docs/deploying.md', {
  async 'How to end a process' (t, { protectedApp, redis, stop }) {
    const client = await listen(t, protectedApp)
    t.same((await client.get('/ready')).json, { ready: true })
    const stopped = stop()
    t.same((await client.get('/ready')).status, 503, 'before it closes')
    await stopped
    await t.rejects(client.get('/ready'), 'it does not listen any more')
    await until(() => redis.status === 'end', 'the end of the connection')
  }
})

t.test('each time on the page is long enough for the times that it must include', async (t) => {
  const { text } = await readPage('docs/deploying.md')
  const seconds = (pattern: RegExp): number => Number(pattern.exec(text)?.[1]?.replaceAll('_', ''))
  const delay = seconds(/delay: ([\d_]+)/) / 1_000
  const closeTimeout = seconds(/`closeTimeout`\]\(options.md#deployments\) \| your longest handler \| (\d+) s/)
  t.ok(delay >= seconds(/sleep\(([\d_]+)\)/) / 1_000 + closeTimeout + 5)
  t.ok(seconds(/terminationGracePeriodSeconds: (\d+)/) >= delay + seconds(/"sleep", "(\d+)"/))
  t.ok(seconds(/kill_timeout: (\d+)/) / 1_000 >= delay)
})
