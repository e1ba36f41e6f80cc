import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { protect } from '../servers/reaper.ts'
import { ownDirectory } from './daemon.ts'
import { pathOf } from './programs.ts'

/** What the person who called a client once got from it. */
export interface Got {
  status: number
  body: string
}

/** Pays once with this key at a service, over a connection that was open before. */
export type Pay = (url: string, key: string) => Promise<Got>

export const curl: Pay = (url, key) => run('curl', [
  '--insecure', '--silent', '--show-error', '--output', '/dev/null', `${url}/ready`,
  '--next', ...CURL_POST, '--header', `idempotency-key: ${key}`, `${url}/pay`
])

/** Pays once over a new connection, which the client cannot find broken: it sends its request once. */
export const curlOnce: Pay = (url, key) => run('curl', [
  ...CURL_POST, '--header', `idempotency-key: ${key}`, `${url}/pay`
])

const CURL_POST = [
  '--insecure', '--silent', '--show-error', '--write-out', '\n%{http_code}',
  '--header', 'content-type: application/json', '--data', '{"amount":1999}'
]

/** Makes Go download nothing, and write into a directory of the test. */
export function goEnvironment (directory: string): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH,
    HOME: directory,
    GOCACHE: join(directory, 'cache'),
    GO111MODULE: 'off',
    GOTOOLCHAIN: 'local',
    CGO_ENABLED: '0'
  }
}

/** Builds the Go program with its standard library alone. */
export async function buildGo (t: Test): Promise<Pay> {
  const directory = ownDirectory(t, 'go')
  const binary = join(directory, 'pay')
  await promisify(execFile)(pathOf('go'), ['build', '-o', binary, 'main.go'], {
    cwd: join(import.meta.dirname, 'go'),
    env: goEnvironment(directory)
  })
  return (url, key) => run(binary, [url, key])
}

async function run (command: string, args: string[]): Promise<Got> {
  const running = promisify(execFile)(command === 'curl' ? pathOf('curl') : command, args)
  if (running.child.pid !== undefined) protect(running.child.pid)
  const lines = (await running).stdout.split('\n')
  const status = Number(lines.pop())
  return { status, body: lines.join('\n') }
}
