import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import type { Test } from 'tap'
import { newPrefix } from '../helper.ts'
import { ownRedis } from '../store/own-redis.ts'
import { IMPORT_TYPESCRIPT } from '../typescript/import.ts'

const CARD = '4111111111111111'

interface Sent { stdout: string }

/** What an app with this tracer sends and logs while Redis takes some completions and refuses others. */
async function tracedApp (t: Test, tracer: string, client: 'plain' | 'patched'): Promise<Sent> {
  const server = await ownRedis(t)
  return await promisify(execFile)(
    process.execPath,
    [IMPORT_TYPESCRIPT, join(import.meta.dirname, 'app.ts'), tracer, client],
    {
      env: { PATH: process.env.PATH, REDIS_URL: server.url, KEY_PREFIX: newPrefix(), CARD },
      maxBuffer: 2 ** 26
    }
  )
}

/** The arguments of each traced script, which begin with its SHA-1. The check at the start sends that of no script. */
function completionsIn (stdout: string): string[] {
  return [...stdout.matchAll(/"evalsha (?!0{40})([0-9a-f]{40} [^"]*)"/g)].map(([, args]) => args as string)
}

for (const tracer of ['opentelemetry', 'sentry']) {
  t.test(`of a command that the plugin writes, ${tracer} sees the key and nothing else`, async (t) => {
    const { stdout } = await tracedApp(t, tracer, 'plain')
    t.match(stdout, 'could not be stored', 'Redis refused a completion')
    const completions = completionsIn(stdout)
    t.ok(completions.length > 0, 'the commands were traced')
    for (const args of completions) t.match(args, /^[0-9a-f]{40} 1 test:[\w-]+:[\w-]+$/)
    t.notMatch(stdout, CARD)
  })

  t.test(`${tracer} sees the size of a kept response if the app has patched its client`, async (t) => {
    const { stdout } = await tracedApp(t, tracer, 'patched')
    t.match(stdout, 'could not be stored', 'Redis refused a completion')
    const completions = completionsIn(stdout)
    t.ok(completions.length > 0, 'the commands were traced')
    for (const args of completions) t.match(args, /\[\d+ bytes\]/)
    t.notMatch(stdout, CARD)
  })
}
