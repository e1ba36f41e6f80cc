import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { until } from '../helper.ts'
import { IMPORT_TYPESCRIPT } from '../typescript/import.ts'

function start (t: Test, env: Record<string, string>): { stdout (): string, stderr (): string, kill (): void, ended: Promise<number | null> } {
  const child = spawn(process.execPath, [IMPORT_TYPESCRIPT, 'demo-app/gateway/server.ts'], {
    cwd: resolve(import.meta.dirname, '../..'), env: { PATH: process.env.PATH, PORT: '0', ...env }, stdio: 'pipe'
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  const ended = once(child, 'close').then(([code]) => code as number | null)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return { stdout: () => stdout, stderr: () => stderr, kill: () => { child.kill('SIGTERM') }, ended }
}

t.test('npm run gateway serves the sandbox in a process of its own, and stops when told to', async (t) => {
  const server = start(t, { GATEWAY_API_KEY: 'mine' })
  const url = (): string | undefined => /"msg":"Server listening at (\S+)"/.exec(server.stdout())?.[1]
  await until(() => url(), 'it listens', 60_000)
  const answer = await fetch(`${url()}/sandbox/ledger`, { headers: { authorization: 'Bearer mine' } })
  t.same(await answer.json(), { charges: [], refunds: [], notifications: [], faultsWaiting: 0 })
  server.kill()
  t.equal(await server.ended, 0)
})

t.test('settings that cannot be used are named, all at once', async (t) => {
  const server = start(t, { PORT: 'x', NOTIFY_SCALE: '2', NOTIFY_DUPLICATES: 'often' })
  t.equal(await server.ended, 1)
  for (const name of ['PORT', 'NOTIFY_SCALE', 'NOTIFY_DUPLICATES']) t.match(server.stderr(), new RegExp(`^${name} must be`, 'm'))
})
