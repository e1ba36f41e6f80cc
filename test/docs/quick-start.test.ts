import { spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import type { Test } from 'tap'
import { until } from '../helper.ts'
import { pack, run, scratch, versionOf } from '../packed.ts'
import { watchServer } from '../servers/process.ts'
import { protect } from '../servers/reaper.ts'
import { ownRedis } from '../store/own-redis.ts'
import { readPage } from './markdown.ts'

/*
 * Does what the quick start of the README says, as a newcomer does it: it starts in an empty folder and takes each
 * command and each line of code from the page. It replaces only the names of packages: that of this package by a
 * tarball, and those of others by the versions that all tests use.
 */

// The package is built, packed and installed first.
t.setTimeout(900_000)
const { tarball, manifest } = await pack(t)
const { blocks, text } = await readPage('README.md')
const prose = text.replaceAll('\n', ' ')
const [installation = '', requests = '', typeCheck = ''] = codeIn('sh')
const [program = ''] = codeIn('ts')
const folder = await scratch(t)

/** The environment of the newcomer's shell: without the variables of the test runner and of the npm that started it. */
const ENVIRONMENT = {
  PATH: process.env.PATH,
  HOME: process.env.HOME,
  npm_config_prefer_offline: 'true',
  npm_config_audit: 'false',
  npm_config_fund: 'false',
  npm_config_update_notifier: 'false'
}

t.test('the commands make an ESM package of an empty folder', async (t) => {
  await shell(withPackages(installation))
  const { stdout } = await shell('npm pkg get type && npm ls --depth=0 --parseable')
  t.match(stdout, /^"module"\n/)
  for (const name of ['fastify', 'fastify-idempotency', 'ioredis']) {
    t.match(stdout, new RegExp(`/node_modules/${name}$`, 'm'), name)
  }
})

t.test('the code runs as JavaScript, and a request that is sent twice runs once', async (t) => {
  await payTwice(t, await start(t, 'server.js'))
})

t.test('the same code is TypeScript without a mistake, and runs', async (t) => {
  await writeFile(join(folder, 'server.ts'), program)
  await shell(withPackages(typeCheck))
  t.match(prose, 'Node.js 22.18 or later runs it with `node server.ts`')
  t.match(prose, 'earlier versions run it with `npx tsx server.ts`')
  await payTwice(t, await start(t, 'server.ts', runsTypeScript() ? [] : [TSX]))
  // The command does check the types: it finds a mistake.
  await writeFile(join(folder, 'server.ts'), program.replace("scope: 'global'", 'scope: true'))
  const [, compiler = ''] = linesOf(typeCheck)
  const mistakes = await shell(compiler).then(() => '', (error: { stdout: string }) => error.stdout)
  t.match(mistakes, /^server\.ts\(\d+,\d+\): error TS\d+/)
})

function codeIn (language: string): string[] {
  const section = blocks.filter(({ name }) => name.startsWith('Quick start'))
  return section.filter(block => block.language === language).map(({ code }) => code)
}

function linesOf (code: string): string[] {
  return code.trim().split('\n')
}

/** The commands, with the packages that they install replaced. */
function withPackages (commands: string): string {
  return commands.replaceAll(/(?<=npm install .*)(?<= )[@a-z][\w./-]*/g, replacementOf)
}

function replacementOf (name: string): string {
  return name === manifest.name ? tarball : `${name}@${versionOf(name, manifest)}`
}

function shell (commands: string): ReturnType<typeof run> {
  return run('sh', ['-ec', commands], { cwd: folder, env: ENVIRONMENT })
}

/** The argument of Node.js that does what `npx tsx` does, in one process, which a test can end. */
const TSX = `--import=${pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href}`

function runsTypeScript (): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return major > 22 || (major === 22 && minor >= 18)
}

/** Runs the program in the folder, with a Redis of its own. Returns the URL that it listens on. */
async function start (t: Test, file: string, args: string[] = []): Promise<string> {
  await writeFile(join(folder, file), program)
  const redis = await ownRedis(t)
  const server = spawn(process.execPath, [...args, file], {
    cwd: folder,
    env: { ...ENVIRONMENT, REDIS_URL: redis.url, PORT: '0' },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  if (server.pid !== undefined) protect(server.pid)
  const { listening, stdout } = watchServer(t, server)
  await listening()
  // It may listen on an address of IPv6 too, and say so first.
  const address = (): string | undefined => /"Server listening at (http:\/\/127\.0\.0\.1:\d+)"/.exec(stdout())?.[1]
  await until(() => address() !== undefined, 'the server listens')
  return address() as string
}

/** Sends the requests of the page, and sees that they print what the page says. */
async function payTwice (t: Test, url: string): Promise<void> {
  t.match(prose, 'Both commands print `{"payment":1}`')
  t.match(prose, 'the second one also prints `idempotent-replayed: true`')
  const lines = linesOf(requests)
  t.equal(lines.length, 2)
  const answers: string[] = []
  for (const line of lines) {
    t.match(line, /^curl .* http:\/\/localhost:3000\//)
    const { stdout } = await shell(line.replace('http://localhost:3000', url))
    answers.push(stdout.toString())
  }
  const parts = answers.map(answer => answer.split('\r\n\r\n'))
  const [[first = '', body] = [], [second = '', repeated] = []] = parts
  t.match(first, /^HTTP\/1\.1 200 OK/)
  t.match(second, /^HTTP\/1\.1 200 OK[^]*\r\nidempotent-replayed: true/)
  t.notMatch(first, 'idempotent-replayed')
  t.equal(body, '{"payment":1}')
  t.equal(repeated, body)
  const send = (key: string): Promise<Response> => {
    return fetch(`${url}/payments`, { method: 'POST', headers: { 'idempotency-key': key } })
  }
  const quoted = await send('"p-1"')
  t.equal(quoted.headers.get('idempotent-replayed'), 'true', 'the same key in quotes')
  t.equal(await quoted.text(), body)
  t.same(await (await send('p-2')).json(), { payment: 2 }, 'the handler has run once before')
}
