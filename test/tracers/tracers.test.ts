import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { newPrefix } from '../helper.ts'
import { ownRedis } from '../store/own-redis.ts'
import { IMPORT_TYPESCRIPT } from '../typescript/import.ts'

const CARD = '4111111111111111'

for (const tracer of ['opentelemetry', 'sentry']) {
  t.test(`no card number of a kept response is in what ${tracer} sends, nor in the log`, async (t) => {
    const server = await ownRedis(t)
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [IMPORT_TYPESCRIPT, join(import.meta.dirname, 'app.ts'), tracer],
      {
        env: { PATH: process.env.PATH, REDIS_URL: server.url, KEY_PREFIX: newPrefix(), CARD },
        maxBuffer: 2 ** 26
      }
    )
    t.match(stdout, 'could not be stored', 'Redis refused a completion')
    t.match(stdout, /evalsha/i, 'the commands were traced')
    t.match(stdout, /\[\d+ bytes\]/, 'with the size of what they carry')
    t.notMatch(stdout, CARD)
  })
}
