import { createRequire } from 'node:module'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { storeContract } from '../plugin/store-contract/index.ts'
import { CONTRACTS, countPassed, install, modulesOf, pack, PROGRAMS, ROOT, run, runProgram } from './packed.ts'
import { isEmpty, reach } from './reach.ts'

// The package is built, packed and installed first.
t.setTimeout(900_000)
const packed = await pack(t)
const { manifest, tarball, files } = packed
const modules = modulesOf(manifest)
const peers = Object.keys(manifest.peerDependencies)

/** Licences that require nothing but attribution. */
const ALLOWED = new Set(['MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', 'Apache-2.0', 'BlueOak-1.0.0', '0BSD'])

/** The example store, as a user of the package would write it. */
const exampleStore = (await readFile(join(import.meta.dirname, 'store', 'node-redis.ts'), 'utf8')).replaceAll(
  "'../../plugin/index.ts'",
  "'fastify-idempotency'"
)

const FILES: Record<string, string> = {
  ...PROGRAMS,
  ...CONTRACTS,
  'imports.mjs': `const names = []
for (const name of ${JSON.stringify(modules)}) names.push(Object.keys(await import(name)))
console.log(JSON.stringify({ names }))`,
  'requires.cjs': `const look = () => ({ globals: Reflect.ownKeys(globalThis).length, listeners: process.eventNames() })
const before = look()
const names = ${JSON.stringify(modules)}.map(name => Object.keys(require(name)))
console.log(JSON.stringify({ names, before, after: look() }))`,
  'every.mts': modules.map((name, i) => `import * as m${i} from '${name}'\nvoid m${i}\n`).join(''),
  'every.cts': modules.map((name, i) => `import m${i} = require('${name}')\nvoid m${i}\n`).join(''),
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
await app.register(idempotency, {
  redis: new Redis({ lazyConnect: true }), scope: 'global', journal: postgresJournal(pool)
})
await app.register(idempotency, { redis: new Cluster([]), scope: 'global' })
app.post('/pay', {
  config: { idempotency: { lease: 1_000, journal: postgresJournal(app.pg) } }
}, async (request) => app.pg.transact(async (tx) => request.idempotency?.complete(tx, { body: { paid: true } })))
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
`,
  'own-store/store.mts': exampleStore,
  'own-store/contract.mts': `import { after, before, describe, it } from 'node:test'
import { createClient } from 'redis'
import { storeContract } from 'fastify-idempotency/store-contract'
import { NodeRedisStore } from './store.mjs'
const clients = [0, 1].map(() => createClient({ url: process.env.REDIS_URL ?? '' }))
const prefix = process.env.PREFIX ?? ''
const [store, other] = clients.map(client => new NodeRedisStore(client, prefix)) as [NodeRedisStore, NodeRedisStore]
describe('NodeRedisStore', { concurrency: true }, () => {
  before(async () => { for (const client of clients) await client.connect() })
  after(async () => {
    const keys = await clients[0]?.keys(prefix + '*') ?? []
    if (keys.length > 0) await clients[0]?.del(keys)
    for (const client of clients) client.destroy()
  })
  for (const { name, run } of storeContract) it(name, () => run({ store, other }))
})
`
}

const project = await install(t, packed, FILES, [
  ...peers, 'redis', '@fastify/postgres', 'pg', '@types/pg', '@types/node'
])
const installed = join(project, 'node_modules', manifest.name)
const bare = await install(t, packed, {}, ['fastify'])

t.test('contains the build, the licence and the README, and no code that no export leads to', async (t) => {
  const others = files.filter(path => !/\.(js|d\.ts)$/.test(path))
  t.same(others.sort(), ['LICENSE', 'README.md', 'dist/cjs/package.json', 'dist/postgres.sql', 'package.json'])
  const { reached } = await reach(installed, manifest)
  const unreached = files.filter(path => path.endsWith('.js') && !reached.has(path))
  t.same(
    (await Promise.all(unreached.map(async path => (await isEmpty(join(installed, path)) ? [] : [path])))).flat(),
    []
  )
  t.same([...reached].filter(path => !files.includes(path)), [])
  t.same(files.filter(path => path.endsWith('.d.ts') && !files.includes(path.replace(/\.d\.ts$/, '.js'))), [])
})

t.test('needs one package at run time, and declares whatever else it can be used with', async (t) => {
  t.same(Object.keys(manifest.dependencies), ['fastify-plugin'])
  const { packages } = await reach(installed, manifest)
  t.same([...packages].filter(name => ![...Object.keys(manifest.dependencies), ...peers].includes(name)), [])
  t.same(
    Object.keys(manifest.peerDependenciesMeta).sort(),
    peers.filter(name => name !== 'fastify').sort(),
    'all but fastify are optional'
  )
  for (const name of peers) t.ok(manifest.devDependencies[name], `${name} is tried by the tests`)
  t.equal(manifest.engines.node, '>=20')
  const main = await reach(installed, { ...manifest, exports: { '.': manifest.exports['.'] as string } })
  t.same(
    [...main.packages].sort(),
    ['fastify', 'fastify-plugin'],
    'the plugin itself needs no optional one, its types included'
  )
})

t.test('has nothing to complain about for publint', async (t) => {
  const { stdout } = await run('npx', ['--no', '--', 'publint', 'run', '--strict', tarball], {
    cwd: import.meta.dirname
  })
  t.match(stdout, /All good!/)
})

t.test('has the right types for every way to import it, as arethetypeswrong sees it', async (t) => {
  // The profile for TypeScript's oldest resolution is left out: it supports no `exports`, and no supported Node.js
  // version.
  const noModules = Object.entries(manifest.exports)
    .filter(([, target]) => typeof target === 'string' && !target.endsWith('.json'))
    .map(([path]) => path.slice(2))
  const { stdout } = await run(
    'npx',
    ['--no', '--', 'attw', tarball, '--profile', 'node16', '--format', 'json', '--exclude-entrypoints', ...noModules],
    { cwd: import.meta.dirname }
  ).catch((error: { stdout: string }) => error)
  const { analysis } = JSON.parse(stdout) as {
    analysis: { entrypoints: Record<string, unknown>, problems: Array<{ kind: string, resolutionKind?: string }> }
  }
  t.same(analysis.problems.filter(({ resolutionKind }) => resolutionKind !== 'node10'), [])
  for (const name of modules) t.ok(analysis.entrypoints[`.${name.slice(manifest.name.length)}`], name)
})

for (const program of Object.keys(PROGRAMS)) {
  t.test(`charges once and replays, installed and used as ${program}`, async (t) => {
    t.match(JSON.parse(await runProgram(project, process.execPath, [program])), {
      statuses: [200, 200],
      same: true,
      replayed: 'true'
    })
  })
}

t.test('every module exports the same to ESM and to CommonJS, and does nothing when only imported', async (t) => {
  const [esm, cjs] = await Promise.all(['imports.mjs', 'requires.cjs'].map(async (file) => {
    return JSON.parse(await runProgram(project, process.execPath, [file])) as {
      names: string[][],
      before: unknown,
      after: unknown
    }
  }))
  for (const [i, name] of modules.entries()) {
    const names = esm?.names[i]?.filter(name => name !== 'module.exports') ?? []
    t.ok(names.length > 0, `${name} exports something`)
    t.same(cjs?.names[i]?.filter(name => name !== '__esModule').sort(), names.sort(), name)
  }
  t.same(cjs?.after, cjs?.before, 'no global and no listener is left')
  t.equal(manifest.sideEffects, false)
})

t.test('ships what is exported besides modules', async (t) => {
  const require = createRequire(join(project, 'index.js'))
  for (const [path, target] of Object.entries(manifest.exports)) {
    if (typeof target !== 'string') continue
    t.ok((await readFile(require.resolve(manifest.name + path.slice(1)), 'utf8')).length > 0, path)
  }
})

t.test('is typed for ESM and for CommonJS, every module of it, with the clients’ own types', async (t) => {
  const sources = Object.keys(FILES).filter(name => /\.[mc]ts$/.test(name))
  const failed = await run(
    process.execPath,
    [
      join(ROOT, 'node_modules/typescript-7/lib/tsc.js'),
      '--noEmitOnError',
      '--strict',
      '--exactOptionalPropertyTypes',
      '--skipLibCheck',
      'false',
      '--module',
      'nodenext',
      '--target',
      'es2022',
      '--types',
      'node',
      '--rootDir',
      '.',
      ...sources
    ],
    { cwd: project }
  ).then(
    () => null,
    (error: { stdout: string }) => error.stdout
  )
  t.equal(failed, null)
})

for (const [what, file] of [
  ['from ESM', 'contract.mjs'],
  ['from CommonJS', 'contract.cjs'],
  ['for a store on another Redis client', 'own-store/contract.mjs']
] as const) {
  t.test(`has a contract of stores that runs under node:test, ${what}`, async (t) => {
    const passed = await countPassed(project, process.execPath, file, {
      PREFIX: `test:package:${crypto.randomUUID()}:`
    })
    t.equal(passed, storeContract.length, 'all promises of a store are kept')
  })
}

t.test('is installed with nothing but fastify, and with licences that allow any use', async (t) => {
  const { stdout } = await run('npm', ['sbom', '--sbom-format', 'cyclonedx'], { cwd: bare })
  const { components } = JSON.parse(stdout) as {
    components: Array<{ name: string, licenses?: Array<{ license?: { id?: string } }> }>
  }
  const names = components.map(({ name }) => name)
  for (const name of [manifest.name, 'fastify', 'fastify-plugin']) t.ok(names.includes(name), name)
  t.notOk(names.includes('ioredis'), 'no optional package is installed unasked')
  const restricted = components.filter(
    ({ licenses = [] }) => !licenses.some(({ license }) => ALLOWED.has(license?.id ?? ''))
  )
  t.same(restricted.map(({ name, licenses }) => ({ name, licenses })), [])
})
