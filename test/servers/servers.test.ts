import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import t from 'tap'
import { connectRedis, until } from '../helper.ts'
import { MissingBinaryError, postgresDirectory, redisServer } from './binaries.ts'
import { startPostgres } from './postgres.ts'
import { startRedis } from './redis.ts'

function isAlive (pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

t.test('a throwaway Redis answers, can be killed, and starts again on its port', async (t) => {
  const first = await startRedis()
  t.equal(await connectRedis(t, { url: first.url }).ping(), 'PONG')
  await first.kill()
  t.equal(isAlive(first.pid), false)
  const second = await startRedis({ port: first.port })
  t.equal(second.url, first.url)
  t.equal(await connectRedis(t, { url: second.url }).ping(), 'PONG')
  await t.rejects(startRedis({ port: first.port }), /did not start on port/)
  await second.stop()
  await second.stop()
  t.equal(isAlive(second.pid), false)
})

t.test('a throwaway Postgres answers, and leaves nothing behind', async (t) => {
  const server = await startPostgres()
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  const { rows: [row] } = await client.query<{ directory: string }>("SELECT current_setting('data_directory') AS directory")
  await client.end()
  const directory = row?.directory ?? ''
  t.ok(existsSync(directory))
  await server.stop()
  t.equal(isAlive(server.pid), false)
  t.notOk(existsSync(join(directory, '..')))
})

t.test('a server is gone, and its directory too, when the process that started it was killed', async (t) => {
  const temporary = mkdtempSync(join(tmpdir(), 'test-reaper-'))
  t.teardown(() => rmSync(temporary, { recursive: true, force: true }))
  const script = `import { startRedis } from ${JSON.stringify(join(import.meta.dirname, 'redis.ts'))}
    const { pid } = await startRedis()
    console.log(pid)
    process.stdin.resume()`
  const starter = spawn(process.execPath, ['--import=tsx', '--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, TMPDIR: temporary } })
  const [output] = await once(starter.stdout, 'data') as [Buffer]
  const pid = Number(output.toString())
  t.equal(isAlive(pid), true)
  starter.kill('SIGKILL')
  await until(() => !isAlive(pid), 'the server ending')
  await until(async () => (await promisify(execFile)('ls', [temporary])).stdout.includes('test-redis-') === false, 'the directory going')
})

t.test('without the binaries, and where they cannot be installed, one line says what to install', async (t) => {
  const machine = { path: '/nowhere', isRoot: false, hasApt: true }
  const given = process.env.REDIS_SERVER_BIN
  delete process.env.REDIS_SERVER_BIN
  t.teardown(() => { if (given !== undefined) process.env.REDIS_SERVER_BIN = given })
  t.throws(() => redisServer(machine), { name: 'MissingBinaryError', message: /redis-server.*install the package redis-server/ })
  try {
    t.type(postgresDirectory(machine), 'string', 'found in one of the places off the PATH')
  } catch (error) {
    t.type(error, MissingBinaryError)
    t.match((error as Error).message, /install the package postgresql/)
  }
})

t.test('the launcher hands its servers to a command, ends with its code, and takes them along', async (t) => {
  const script = 'console.log(process.env.REDIS_URL, process.env.DATABASE_URL); process.exit(7)'
  const env: NodeJS.ProcessEnv = { ...process.env }
  delete env.REDIS_URL
  delete env.DATABASE_URL
  const launched = spawn(process.execPath, ['--import=tsx', join(import.meta.dirname, '../run.ts'), '--', process.execPath, '-e', script], { env, stdio: ['ignore', 'pipe', 'ignore'] })
  const [[output], [code]] = await Promise.all([once(launched.stdout, 'data'), once(launched, 'exit')]) as [[Buffer], [number]]
  const [redisUrl, databaseUrl] = output.toString().trim().split(' ')
  t.match(redisUrl, /^redis:\/\/127\.0\.0\.1:\d+$/)
  t.match(databaseUrl, /^postgres:\/\/postgres@127\.0\.0\.1:\d+\/postgres$/)
  t.equal(code, 7)
  const client = new pg.Client({ connectionString: databaseUrl })
  client.on('error', () => {})
  await t.rejects(client.connect(), { code: 'ECONNREFUSED' })
})
