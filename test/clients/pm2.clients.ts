import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import type { Test } from 'tap'
import { clientOf, until } from '../helper.ts'
import { readPage } from '../docs/markdown.ts'
import { npmInstall } from '../packed.ts'
import { payAndLeave } from '../processes/leave.ts'
import { startLoad } from '../processes/load.ts'
import { startWorld } from '../processes/start.ts'
import type { World } from '../processes/start.ts'
import { freePort } from '../servers/port.ts'
import { protect } from '../servers/reaper.ts'
import { IMPORT_TYPESCRIPT } from '../typescript/import.ts'
import { ownDirectory } from './daemon.ts'

const SERVICE = join(import.meta.dirname, '../processes/service.ts')

interface Pm2 {
  url: string
  /** What the processes of PM2 wrote. */
  stdout (): string
  /** What PM2 wrote itself. */
  log (): string
  run (...args: string[]): Promise<string>
}

/** Two processes in PM2's cluster mode, as docs/deploying.md describes it. */
async function startPm2 (t: Test, world: World): Promise<Pm2> {
  const directory = ownDirectory(t, 'pm2')
  await npmInstall(directory, ['pm2@7.0.4'])
  const port = String(await freePort())
  const log = join(directory, 'out.log')
  // PM2 runs no TypeScript where Node.js itself does not.
  writeFileSync(join(directory, 'service.mjs'), `import ${JSON.stringify(SERVICE)}\n`)
  const { blocks } = await readPage('docs/deploying.md')
  const documented = blocks.find(({ code }) => code.startsWith('apps:'))?.code ?? ''
  const more = { node_args: IMPORT_TYPESCRIPT, out_file: log, merge_logs: true, env: { ...world.env(), PORT: port } }
  writeFileSync(join(directory, 'ecosystem.config.yaml'), [
    documented.trimEnd().replace('./server.js', './service.mjs').replace('./', `${directory}/`),
    ...Object.entries(more).map(([name, value]) => `    ${name}: ${JSON.stringify(value)}`)
  ].join('\n'))
  const run = async (...args: string[]): Promise<string> => {
    const command = join(directory, 'node_modules/pm2/bin/pm2')
    const { stdout } = await promisify(execFile)(process.execPath, [command, ...args], {
      cwd: directory, env: { PATH: process.env.PATH, HOME: directory, PM2_HOME: directory }
    })
    return stdout
  }
  t.teardown(() => run('kill'))
  await run('start', 'ecosystem.config.yaml')
  protect(Number(readFileSync(join(directory, 'pm2.pid'), 'utf8')))
  return {
    url: `http://127.0.0.1:${port}`,
    stdout: () => existsSync(log) ? readFileSync(log, 'utf8') : '',
    log: () => readFileSync(join(directory, 'pm2.log'), 'utf8'),
    run
  }
}

t.test('pm2 reload under load loses no payment and runs none twice, also one whose client has left', async (t) => {
  const world = await startWorld(t)
  const { provider } = world
  const pm2 = await startPm2(t, world)
  const key = randomUUID()
  await payAndLeave(world, pm2, key)
  provider.answerOthers(key)
  const load = startLoad(t, pm2.url)
  await load.more(50)

  const reloaded = pm2.run('reload', 'all')
  await until(() => pm2.stdout().includes('"msg":"closing"'), 'a process being told to end', 60_000)
  await load.more(50)
  provider.answer(key)
  await reloaded
  t.same(pm2.log().match(/exited with code \[\d+\]/g), Array(2).fill('exited with code [0]'), 'none is killed')
  await load.more(50)

  const statuses = await load.end()
  t.same(new Set(statuses.values()), new Set([200]), `${statuses.size} payments`)
  t.same([...statuses.keys()].filter(key => provider.charges(key) !== 1), [], 'each of them is one charge')
  const retry = await clientOf(pm2.url).post('/pay', key, {})
  t.same({ status: retry.status, replayed: retry.replayed }, { status: 200, replayed: true })
  t.equal(provider.charges(key), 1, 'also the one whose client had left')
})
