import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '..')

const USE = `
  const app = Fastify()
  await app.register(idempotency, { store: new MemoryStore(), scope: 'global' })
  app.post('/pay', { config: { idempotency: true } }, async () => ({ paid: crypto.randomUUID() }))
  const pay = () => app.inject({ method: 'POST', url: '/pay', headers: { 'idempotency-key': 'k' } })
  const [first, second] = [await pay(), await pay()]
  console.log(JSON.stringify({ same: first.body === second.body, replayed: second.headers['idempotent-replayed'] }))
`

const FILES: Record<string, string> = {
  'package.json': '{ "name": "user", "private": true }',
  'default.mjs': `import Fastify from 'fastify'\nimport idempotency, { MemoryStore } from 'fastify-idempotency'\n${USE}`,
  'named.cjs': `const Fastify = require('fastify')\nconst { idempotency, MemoryStore } = require('fastify-idempotency')\n;(async () => {${USE}})()`,
  'whole.cjs': `const Fastify = require('fastify')\nconst idempotency = require('fastify-idempotency')\nconst { MemoryStore } = idempotency\n;(async () => {${USE}})()`,
  'postgres.mjs': "import { postgresJournal } from 'fastify-idempotency/postgres'\nconsole.log(typeof postgresJournal({ query () {} }).record)",
  'postgres.cjs': "const { postgresJournal } = require('fastify-idempotency/postgres')\nconsole.log(typeof postgresJournal({ query () {} }).record)",
  'typed.mts': `import Fastify from 'fastify'
import { Redis, Cluster } from 'ioredis'
import idempotency, { MemoryStore } from 'fastify-idempotency'
import type { IdempotencyOptions, Store } from 'fastify-idempotency'
import { postgresJournal } from 'fastify-idempotency/postgres'
import postgres from '@fastify/postgres'
import type { Pool } from 'pg'
declare const pool: Pool
const app = Fastify()
const store: Store = new MemoryStore()
const options: IdempotencyOptions = { store, scope: (request) => request.ip }
await app.register(idempotency, options)
await app.register(postgres, {})
await app.register(idempotency, { redis: new Redis({ lazyConnect: true }), scope: 'global', journal: postgresJournal(pool) })
await app.register(idempotency, { redis: new Cluster([]), scope: 'global' })
app.post('/pay', { config: { idempotency: { lease: 1_000, journal: postgresJournal(app.pg) } } }, async (request) => app.pg.transact(async (tx) => request.idempotency?.complete(tx, { body: { paid: true } })))
app.idempotency.stats().claimed.toFixed()
// @ts-expect-error the scope is required
await app.register(idempotency, { store })
// @ts-expect-error milliseconds are numbers
app.post('/x', { config: { idempotency: { lease: 'long' } } }, async () => {})
`,
  'typed.cts': `import Fastify = require('fastify')
import { idempotency, MemoryStore } from 'fastify-idempotency'
const app = Fastify.default()
void app.register(idempotency, { store: new MemoryStore(), scope: 'global' })
app.post('/pay', { config: { idempotency: true } }, async (request) => request.idempotency?.replayed)
`
}

t.test('the packed tarball, installed into an empty project', { timeout: 180_000 }, async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'fastify-idempotency-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  await run('npm', ['run', 'build'], { cwd: ROOT })
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', dir], { cwd: ROOT })
  const [{ filename, files }] = JSON.parse(stdout) as [{ filename: string, files: Array<{ path: string }> }]
  for (const [name, content] of Object.entries(FILES)) await writeFile(join(dir, name), content)
  const { devDependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { devDependencies: Record<string, string> }
  await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts', join(dir, filename),
    ...['fastify', 'ioredis', 'typescript', '@types/node', '@fastify/postgres', 'pg', '@types/pg'].map(name => `${name}@${devDependencies[name]}`)], { cwd: dir })

  t.test('contains the build, the licence and the README, and nothing else', async (t) => {
    const unexpected = files.map(({ path }) => path).filter(path => !/^(dist\/.+\.(js|d\.ts)|dist\/cjs\/package\.json|package\.json|dist\/postgres\.sql|LICENSE|README\.md)$/.test(path))
    t.same(unexpected, [])
    for (const path of ['dist/esm/index.js', 'dist/cjs/index.js', 'dist/postgres.sql', 'LICENSE', 'README.md']) t.ok(files.some(file => file.path === path), path)
  })

  for (const [file, how] of [['default.mjs', 'ESM'], ['named.cjs', 'require() of a name'], ['whole.cjs', 'require() of the whole module']] as const) {
    t.test(`works from ${how}`, async (t) => {
      const { stdout } = await run(process.execPath, [file], { cwd: dir })
      t.same(JSON.parse(stdout), { same: true, replayed: 'true' })
    })
  }

  for (const file of ['postgres.mjs', 'postgres.cjs']) {
    t.test(`has its journal for ${file}`, async (t) => {
      t.equal((await run(process.execPath, [file], { cwd: dir })).stdout.trim(), 'function')
    })
  }

  t.test('is typed for ESM and for CommonJS, with ioredis’s own clients', async (t) => {
    const tsc = join(dir, 'node_modules', '.bin', 'tsc')
    const failed = await run(tsc, ['--noEmit', '--strict', '--skipLibCheck', 'false', '--module', 'nodenext', '--target', 'es2022', '--types', 'node', 'typed.mts', 'typed.cts'], { cwd: dir })
      .then(() => null, (error: { stdout: string }) => error.stdout)
    t.equal(failed, null)
  })
})
