import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import type { Test } from 'tap'
import { createDatabase, createOrder, get, holdOrder, post, until } from '../demo/helper.ts'
import { REDIS_URL } from '../helper.ts'
import { PROJECT } from '../project.ts'
import { protectGroup } from '../servers/reaper.ts'

const CARD = { method: 'card' }

interface Npm {
  /** The id of npm itself, and of the process group that all its children are in, as in a terminal. */
  pid: number
  url: string
  /** The processes that are left, including npm: id and command. */
  left (): Array<{ pid: number, command: string }>
  /** The exit code of npm, or the signal that ended it. */
  ended: Promise<number | NodeJS.Signals>
  stdout (): string
}

/** Runs the script of package.json that the README names, by npm, in a process group of its own. */
async function npm (t: Test, script: string, env: Record<string, string>): Promise<Npm> {
  const child = spawn('npm', ['run', script], {
    cwd: PROJECT,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true
  })
  const pid = child.pid as number
  protectGroup(pid)
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  const ended = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals)
  const left = (): Array<{ pid: number, command: string }> => processesOf(pid)
  t.teardown(async () => {
    if (left().length > 0) process.kill(-pid, 'SIGKILL')
    await ended
  })
  const address = (): string | undefined => /"msg":"Server listening at (\S+)"/.exec(stdout)?.[1]
  await until(() => address() !== undefined || child.exitCode !== null, 'it listens')
  return { pid, url: address() as string, left, ended, stdout: () => stdout }
}

function processes (): Array<{ pid: number, parent: number, group: number, command: string }> {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,pgid=,stat=,args='], { encoding: 'utf8' })
    .trim()
    .split('\n')
  return lines.map(line => line.trim().split(/\s+/))
    // A zombie process has ended.
    .filter(([, , , stat]) => stat?.startsWith('Z') === false)
    .map(([pid, parent, group, , ...command]) => ({
      pid: Number(pid), parent: Number(parent), group: Number(group), command: command.join(' ')
    }))
}

function processesOf (leader: number): ReturnType<typeof processes> {
  return processes().filter(({ group }) => group === leader)
}

/** The process that runs the demo itself. */
function nodeOf ({ left }: Npm): number {
  return left().find(({ command }) => /^\S*node .*demo-app\/server\.ts/.test(command))?.pid ?? NaN
}

async function nobodyListens (url: string): Promise<boolean> {
  return fetch(url).then(() => false, () => true)
}

const databaseUrl = await createDatabase(t)

const ways: Array<[how: string, signal: NodeJS.Signals, to: (npm: Npm) => number, exit: number | NodeJS.Signals]> = [
  ['a supervisor sends SIGTERM to npm alone', 'SIGTERM', ({ pid }) => pid, 0],
  ['SIGINT is sent to npm alone', 'SIGINT', ({ pid }) => pid, 0],
  ['SIGHUP is sent to npm alone, which does not pass it on', 'SIGHUP', ({ pid }) => pid, 'SIGHUP'],
  ['npm is killed and cannot pass anything on', 'SIGKILL', ({ pid }) => pid, 'SIGKILL'],
  ['somebody presses Ctrl-C, which goes to all, and npm passes it on once more', 'SIGINT', ({ pid }) => -pid, 0],
  ['the terminal is closed', 'SIGHUP', ({ pid }) => -pid, 'SIGHUP'],
  ['SIGTERM is sent to the demo’s own process', 'SIGTERM', nodeOf, 0]
]
for (const [how, signal, to, exit] of ways) {
  t.test(`npm start finishes the running payment, and leaves no process and no port taken, when ${how}`, async (t) => {
    const demo = await npm(t, 'start', { DATABASE_URL: databaseUrl, REDIS_URL })
    const provider = `http://${/payment provider at ([\d.:]+)/.exec(demo.stdout())?.[1]}`
    const order = await createOrder(demo.url)
    const held = await holdOrder(t, databaseUrl, order)
    const paid = post(`${order}/pay`, CARD)
    await held.waitedFor(1)
    process.kill(to(demo), signal)
    await until(() => get(order).then(({ status }) => status === 503, () => true), 'nobody else is served')
    await held.letGo()
    t.match(await paid, { status: 200, json: { status: 'paid' } })
    t.equal(await demo.ended, exit)
    await until(() => demo.left().length === 0, 'all processes have ended')
    t.ok(await nobodyListens(demo.url), 'the app’s port is free')
    t.ok(await nobodyListens(provider), 'and that of the sandbox provider')
  })
}

t.test('a terminal that is gone keeps neither the payment from being finished nor the demo from ending', async (t) => {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, PORT: '0', DATABASE_URL: databaseUrl, REDIS_URL }
  // The demo's output is a terminal of its own, which is closed when `script` ends.
  const terminal = spawn('script', ['-qec', 'exec npm start', '/dev/null'], {
    cwd: PROJECT,
    env,
    stdio: ['pipe', 'pipe', 'inherit']
  })
  let stdout = ''
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
  const address = (): string | undefined => /"msg":"Server listening at ([^"\s]+)"/.exec(stdout)?.[1]
  await until(() => address() !== undefined || terminal.exitCode !== null, 'it listens')
  const [leader] = processes().filter(({ parent }) => parent === terminal.pid)
  const group = leader?.pid ?? NaN
  protectGroup(group)
  const order = await createOrder(address() as string)
  const held = await holdOrder(t, databaseUrl, order)
  const paid = post(`${order}/pay`, CARD)
  await held.waitedFor(1)
  terminal.kill('SIGKILL')
  await until(() => get(order).then(({ status }) => status === 503, () => true), 'nobody else is served')
  await held.letGo()
  t.match(await paid, { status: 200, json: { status: 'paid' } })
  await until(() => processesOf(group).length === 0, 'all processes have ended')
})

for (const script of ['sandbox-provider', 'gateway']) {
  t.test(`npm run ${script} leaves no process when npm ends by SIGTERM, by Ctrl-C or by SIGKILL`, async (t) => {
    for (const [signal, toAll] of [['SIGTERM', false], ['SIGINT', true], ['SIGKILL', false]] as const) {
      const provider = await npm(t, script, {})
      process.kill(toAll ? -provider.pid : provider.pid, signal)
      t.equal(await provider.ended, signal === 'SIGKILL' ? signal : 0)
      await until(() => provider.left().length === 0, `all processes have ended after ${signal}`)
      t.ok(await nobodyListens(provider.url))
    }
  })
}
