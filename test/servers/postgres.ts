import { execFile, execFileSync, spawn } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chownSync, closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { postgresDirectory } from './binaries.ts'
import { freePort } from './port.ts'
import { protect } from './reaper.ts'
import { until } from './until.ts'

const exec = promisify(execFile)

/** Arguments for `initdb`, beside the directory. */
const INITDB = ['-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']

/** Holds database clusters as `initdb` makes them. */
const KEPT = join(import.meta.dirname, '../../node_modules/.cache/fastify-idempotency/postgres')

export interface PostgresServer {
  url: string
  pid: number
  /** Ends it like a crash, so that its connections break, and starts it again on the same port with the same data. */
  restart (): Promise<void>
  stop (): Promise<void>
}

/** Starts a throwaway Postgres. Its directory is removed when it stops. */
export async function startPostgres (): Promise<PostgresServer> {
  for (let tries = 1; ; tries++) {
    const started = await start(await freePort())
    if (typeof started !== 'string') return started
    if (tries === 3) throw new Error(`postgres did not start: ${started}`)
  }
}

/** Returns the log if Postgres ended before it answered. Usually another process has taken the port meanwhile. */
async function start (port: number): Promise<PostgresServer | string> {
  const bin = postgresDirectory()
  const directory = mkdtempSync(join(tmpdir(), 'test-postgres-'))
  protect(directory)
  const user = ordinaryUser()
  if (user !== null) chownSync(directory, user.uid, user.gid)
  const as = { ...user, cwd: directory }
  const data = join(directory, 'data')
  await makeCluster(bin, data, as)
  const launch = (): { pid: number, hasEnded: () => boolean, end: (signal: NodeJS.Signals) => Promise<void> } => {
    const log = openSync(join(directory, 'log'), 'a')
    const server = spawn(join(bin, 'postgres'), [
      '-D', data, '-p', String(port), '-k', directory, '-h', '127.0.0.1',
      '-c', 'fsync=off', '-c', 'max_connections=200'
    ], { ...as, stdio: ['ignore', log, log] })
    closeSync(log)
    const pid = server.pid as number
    protect(pid)
    const ended = once(server, 'exit')
    const hasEnded = (): boolean => server.exitCode !== null || server.signalCode !== null
    return {
      pid,
      hasEnded,
      async end (signal) {
        if (!hasEnded()) server.kill(signal)
        await ended
      }
    }
  }
  let server = launch()
  const stop = async (): Promise<void> => {
    // SIGINT is the "fast" shutdown of Postgres, which does not wait for its clients.
    await server.end('SIGINT')
    rmSync(directory, { recursive: true, force: true })
  }
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  const ready = async (): Promise<void> => {
    try {
      await until(async () => server.hasEnded() || await answers(url, data), 'postgres answering', 60_000)
    } catch (error) {
      await stop()
      throw error
    }
  }
  await ready()
  const written = (): string => readFileSync(join(directory, 'log'), 'utf8')
  if (server.hasEnded()) {
    const log = written()
    await stop()
    return log
  }
  return {
    url,
    get pid () { return server.pid },
    async restart () {
      // SIGQUIT is the "immediate" shutdown of Postgres, which recovers from its write-ahead log at the next start.
      await server.end('SIGQUIT')
      server = launch()
      await ready()
      if (server.hasEnded()) throw new Error(`postgres did not start again: ${written()}`)
    },
    stop
  }
}

/** Makes an empty database cluster. Copies the one that this version of Postgres has made before, if there is one. */
async function makeCluster (bin: string, data: string, as: { cwd: string, uid?: number, gid?: number }): Promise<void> {
  const { stdout: version } = await exec(join(bin, 'postgres'), ['--version'])
  const name = createHash('sha256').update(`${version} ${as.uid} ${INITDB.join(' ')}`).digest('hex')
  const kept = join(KEPT, name)
  if (existsSync(kept)) {
    await copy(kept, data)
    return
  }
  const initialised = exec(join(bin, 'initdb'), ['-D', data, ...INITDB], as)
  if (initialised.child.pid !== undefined) protect(initialised.child.pid)
  await initialised
  // A rename is atomic, so other processes see a whole cluster or none. If nothing can be written, each makes its own.
  const written = `${kept}-${randomUUID()}`
  await mkdir(KEPT, { recursive: true }).then(() => copy(data, written)).then(() => rename(written, kept))
    .catch(() => rm(written, { recursive: true, force: true }))
}

/** Copies the owner too: if root runs the tests, another user owns the files. */
async function copy (from: string, to: string): Promise<void> {
  await exec('cp', ['-pR', from, to])
}

/** The user for Postgres, which refuses to run as root. `null` if the tests do not run as root. */
function ordinaryUser (): { uid: number, gid: number } | null {
  if (process.getuid?.() !== 0) return null
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = (flag: string): number => {
        return Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))
      }
      return { uid: id('-u'), gid: id('-g') }
    } catch {}
  }
  throw new Error('Postgres refuses to run as root, and this machine has neither a user postgres nor a user nobody')
}

/** Whether this server answers, and not another one that has taken the port. */
async function answers (url: string, data: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows: [row] } = await client.query<{ data_directory: string }>('SHOW data_directory')
    return row?.data_directory === data
  } catch {
    return false
  } finally {
    await client.end().catch(() => {})
  }
}
