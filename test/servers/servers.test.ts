import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { connect } from 'node:net'
import { constants, tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import pg from 'pg'
import t from 'tap'
import { connectRedis, until } from '../helper.ts'
import { MissingBinaryError, postgresDirectory, redisServer } from './binaries.ts'
import type { Machine } from './binaries.ts'
import { startPostgres } from './postgres.ts'
import { startRedis } from './redis.ts'
import { IMPORT_TYPESCRIPT } from '../typescript/import.ts'

interface Test {
  teardown (end: () => void): void
  type (found: unknown, wanted: typeof MissingBinaryError): boolean
  notMatch (found: string, wanted: string): boolean
  fail (message: string): boolean
}

function isAlive (pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Whether somebody listens where a URL points to; unlike a process id, that is the same where orphans stay zombies. */
function listens (url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

function temporaryDirectory (t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'test-servers-'))
  // Postgres runs as another user, who has to get through it.
  chmodSync(directory, 0o755)
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

function serverDirectories (temporary: string): string[] {
  return readdirSync(temporary).filter(name => name.startsWith('test-'))
}

/** The launcher as `npm test` runs it, with nothing given and its servers' directories in `temporary`. */
function launch (
  temporary: string,
  command: string[],
  change: NodeJS.ProcessEnv = {}
): ChildProcess & { stdout: NodeJS.ReadableStream, stderr: NodeJS.ReadableStream } {
  const env: NodeJS.ProcessEnv = { ...process.env, TMPDIR: temporary, ...change }
  for (const given of ['REDIS_URL', 'DATABASE_URL', 'REDIS_SERVER_BIN']) if (!(given in change)) delete env[given]
  return spawn(process.execPath, [IMPORT_TYPESCRIPT, join(import.meta.dirname, '../run.ts'), '--', ...command], {
    env,
    stdio: ['ignore', 'pipe', 'pipe']
  })
}

/** A command that says which servers it got, and goes on for good, as does a child that it passes no signal on to. */
const GOES_ON = [process.execPath, '-e', `
  require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' })
  console.log(process.env.REDIS_URL, process.env.DATABASE_URL)
  // Also without its child: whose end it may hear of before it hears the signal itself.
  setInterval(() => {}, 1000)`]

async function firstLine (stream: NodeJS.ReadableStream): Promise<string[]> {
  const [output] = await once(stream, 'data') as [Buffer]
  return output.toString().trim().split(' ')
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

t.test('a frozen Redis does not answer until it is thawed, and can be stopped as it is', async (t) => {
  const server = await startRedis()
  const client = connectRedis(t, { url: server.url })
  await client.ping()
  server.freeze()
  let answered = false
  const answer = client.ping().then(() => { answered = true })
  // A new connection is taken by the kernel, so that the frozen server has had its chance to answer.
  t.equal(await listens(server.url), true)
  t.equal(answered, false)
  server.thaw()
  await answer
  server.freeze()
  await server.stop()
  t.equal(isAlive(server.pid), false)
})

t.test('a throwaway Postgres answers, is not run by root, and leaves nothing behind', async (t) => {
  const server = await startPostgres()
  const client = new pg.Client({ connectionString: server.url })
  await client.connect()
  const { rows: [row] } = await client.query<{ directory: string }>(
    "SELECT current_setting('data_directory') AS directory"
  )
  await client.end()
  const directory = row?.directory ?? ''
  // Postgres starts only as the owner of its data.
  t.not(statSync(directory).uid, 0)
  await server.stop()
  await server.stop()
  t.equal(isAlive(server.pid), false)
  t.notOk(existsSync(join(directory, '..')))
})

t.test('a server is gone, and its directory too, when the process that started it was killed', async (t) => {
  const temporary = temporaryDirectory(t)
  const script = `import { startRedis } from ${JSON.stringify(join(import.meta.dirname, 'redis.ts'))}
    const { url } = await startRedis()
    console.log(url)
    process.stdin.resume()`
  const starter = spawn(process.execPath, [IMPORT_TYPESCRIPT, '--input-type=module', '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, TMPDIR: temporary }
  })
  const [url = ''] = await firstLine(starter.stdout)
  t.equal(await listens(url), true)
  t.equal(serverDirectories(temporary).length, 1)
  starter.kill('SIGKILL')
  await until(async () => !await listens(url), 'the server ending')
  await until(() => serverDirectories(temporary).length === 0, 'the directory going')
})

t.test('the launcher hands its servers to a command, ends with its code, and takes them along', async (t) => {
  const temporary = temporaryDirectory(t)
  const launched = launch(temporary, [
    process.execPath,
    '-e',
    'console.log(process.env.REDIS_URL, process.env.DATABASE_URL); process.exit(7)'
  ])
  const [[redisUrl = '', databaseUrl = ''], log, [code]] = await Promise.all([
    firstLine(launched.stdout),
    text(launched.stderr),
    once(launched, 'exit') as Promise<[number | null]>
  ])
  t.match(redisUrl, /^redis:\/\/127\.0\.0\.1:\d+$/)
  t.match(databaseUrl, /^postgres:\/\/postgres@127\.0\.0\.1:\d+\/postgres$/)
  t.match(log, `REDIS_URL is a throwaway server, ${redisUrl}`)
  t.match(log, `DATABASE_URL is a throwaway server, ${databaseUrl}`)
  t.equal(code, 7)
  t.equal(await listens(redisUrl), false)
  t.equal(await listens(databaseUrl), false)
  t.same(serverDirectories(temporary), [])
})

t.test('the launcher uses the servers that it is given, and shows no password of theirs', async (t) => {
  const given = {
    REDIS_URL: 'redis://:secret@redis.test:1234',
    DATABASE_URL: 'postgres://me:secret@postgres.test/orders'
  }
  const launched = launch(temporaryDirectory(t), [
    process.execPath,
    '-e',
    'console.log(process.env.REDIS_URL, process.env.DATABASE_URL, process.env.REDIS_SERVER_BIN)'
  ], given)
  const [urls, log] = await Promise.all([firstLine(launched.stdout), text(launched.stderr)])
  t.same(urls, [given.REDIS_URL, given.DATABASE_URL, redisServer()])
  t.match(log, 'redis.test:1234')
  t.match(log, 'postgres.test')
  t.notMatch(log, 'secret')
})

for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const) {
  t.test(`nothing is left of servers, command and children when the launcher gets a ${signal}`, async (t) => {
    const temporary = temporaryDirectory(t)
    const launched = launch(temporary, GOES_ON)
    const closed = once(launched.stdout, 'close')
    const exited = once(launched, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
    const [redisUrl = '', databaseUrl = ''] = await firstLine(launched.stdout)
    launched.kill(signal)
    const [code] = await exited
    t.equal(code, signal === 'SIGKILL' ? null : 128 + constants.signals[signal])
    // The command and its child have this pipe too: it closes when they have all ended.
    await closed
    await until(async () => !await listens(redisUrl) && !await listens(databaseUrl), 'the servers ending')
    await until(() => serverDirectories(temporary).length === 0, 'the directories going')
  })
}

t.test('the launcher passes on a signal that comes as soon as the command runs', async (t) => {
  const given = { REDIS_URL: 'redis://redis.test', DATABASE_URL: 'postgres://postgres.test/orders' }
  const launched = launch(temporaryDirectory(t), ['/bin/sh', '-c', 'kill -TERM $PPID; exec sleep 60'], given)
  t.same(await once(launched, 'exit'), [128 + constants.signals.SIGTERM, null])
})

t.test('nothing is left when the launcher is killed while Postgres is still being set up', async (t) => {
  const temporary = temporaryDirectory(t)
  const launched = launch(temporary, GOES_ON)
  const setUp = (): boolean => serverDirectories(temporary)
    .some(name => name.startsWith('test-postgres-') && existsSync(join(temporary, name, 'data')))
  await until(setUp, 'initdb starting', 60_000)
  launched.kill('SIGKILL')
  await once(launched, 'exit')
  await until(() => serverDirectories(temporary).length === 0, 'the directories going')
})

const BARE: Machine = {
  path: '/nowhere',
  givenRedisServer: undefined,
  postgresPlaces: () => [],
  isRoot: false,
  hasApt: true
}

function executable (file: string, script: string): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 })
}

/** The message for a person, which has to be a single line. */
function complaint (t: Test, look: () => string): string {
  try {
    look()
  } catch (error) {
    t.type(error, MissingBinaryError)
    const { message } = error as Error
    t.notMatch(message, '\n')
    return message
  }
  t.fail('found something')
  return ''
}

t.test('where the binaries are missing and cannot be installed, one line says what to install', async (t) => {
  for (const machine of [BARE, { ...BARE, isRoot: true, hasApt: false }]) {
    t.match(complaint(t, () => redisServer(machine)), /redis-server, not found.*install the package redis-server/)
    t.match(
      complaint(t, () => postgresDirectory(machine)),
      /initdb and postgres, not found.*install the package postgresql/
    )
  }
})

t.test('a Redis that is too old, or is not one, is refused with its path and what to do', async (t) => {
  const directory = temporaryDirectory(t)
  executable(join(directory, 'redis-server'), 'echo "Redis server v=6.0.16 sha=0"')
  t.match(
    complaint(t, () => redisServer({ ...BARE, path: directory })),
    `${directory}/redis-server is 6.0.16: install a newer one`
  )
  t.match(
    complaint(t, () => redisServer({ ...BARE, givenRedisServer: '/nowhere/redis-server' })),
    '/nowhere/redis-server is unknown'
  )
})

t.test('Postgres is taken from the PATH first, and only from where all of it is', async (t) => {
  const directory = temporaryDirectory(t)
  const [halfDone, onPath, elsewhere] = ['a', 'b', 'c'].map(name => join(directory, name)) as [string, string, string]
  executable(join(halfDone, 'initdb'), '')
  for (const place of [onPath, elsewhere]) {
    for (const name of ['initdb', 'postgres']) executable(join(place, name), '')
  }
  t.equal(
    postgresDirectory({ ...BARE, path: [halfDone, onPath].join(delimiter), postgresPlaces: () => [elsewhere] }),
    onPath
  )
  t.equal(postgresDirectory({ ...BARE, path: halfDone, postgresPlaces: () => [elsewhere] }), elsewhere)
})

t.test('root on Debian gets what is missing from apt-get, and one line about it if that fails', async (t) => {
  const directory = temporaryDirectory(t)
  const machine: Machine = { ...BARE, path: directory, isRoot: true }
  executable(join(directory, 'apt-get'), 'echo "E: Some index files failed to download" >&2; exit 100')
  t.match(
    complaint(t, () => redisServer(machine)),
    /apt-get install redis-server\); installing it with apt-get failed: E: Some index files failed to download/
  )
  // A stand-in that writes down what it was asked for.
  executable(join(directory, 'apt-get'), `echo "$DEBIAN_FRONTEND $*" >> '${directory}/asked'
case "$*" in *install*) echo '#!/bin/sh
echo Redis server v=7.0.15' > '${directory}/redis-server'; /bin/chmod +x '${directory}/redis-server' ;; esac`)
  t.equal(redisServer(machine), join(directory, 'redis-server'))
  const asked = readFileSync(join(directory, 'asked'), 'utf8')
  t.match(asked, /^noninteractive .*update\nnoninteractive .*install -y --no-install-recommends redis-server\n$/)
})

t.test('the launcher says in one line what to install, without a stack trace', async (t) => {
  const launched = launch(temporaryDirectory(t), ['true'], { PATH: '/nowhere' })
  const [log, [code]] = await Promise.all([text(launched.stderr), once(launched, 'exit') as Promise<[number | null]>])
  t.match(log, /^The tests need redis-server, [^\n]+\n$/)
  t.equal(code, 1)
})
