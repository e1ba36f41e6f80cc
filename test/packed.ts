import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import ts from 'typescript'
import { PROJECT as ROOT } from './project.ts'

export const run = promisify(execFile)
export { ROOT }

export interface Manifest {
  name: string
  version: string
  exports: Record<string, string | Record<'import' | 'require', { types: string, default: string }>>
  engines: Record<string, string>
  sideEffects: boolean
  dependencies: Record<string, string>
  peerDependencies: Record<string, string>
  peerDependenciesMeta: Record<string, { optional: boolean }>
  devDependencies: Record<string, string>
}

export interface Packed {
  tarball: string
  /** The files in it, by path. */
  files: string[]
  manifest: Manifest
}

export async function scratch (t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'fastify-idempotency-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

/** What the package is built from. */
const SOURCES = [
  'plugin', 'package.json', 'README.md', 'LICENSE', 'tsconfig.json', 'tsconfig.build.json', 'tsconfig.build.cjs.json'
]

/**
 * Builds and packs the package as it would be published, in a copy: others may build or use the original meanwhile.
 * Kept as long as nothing changes that it is made of, for the other files that try it and for the next run.
 */
export async function pack (t: Test): Promise<Packed> {
  const kept = join(ROOT, 'node_modules/.cache/fastify-idempotency/packed', await digest(SOURCES))
  const dir = await scratch(t)
  const packed = await cp(kept, dir, { recursive: true }).then(() => readPacked(dir), () => null)
  if (packed !== null) return packed
  for (const name of SOURCES) await cp(join(ROOT, name), join(dir, name), { recursive: true })
  await symlink(join(ROOT, 'node_modules'), join(dir, 'node_modules'))
  await run('npm', ['run', 'build'], { cwd: dir })
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json'], { cwd: dir })
  await writeFile(join(dir, 'packed.json'), stdout)
  const built = await readPacked(dir)
  await keep(kept, [built.tarball, join(dir, 'packed.json'), join(dir, 'package.json')])
  return built
}

async function readPacked (dir: string): Promise<Packed> {
  const [{ filename, files }] = JSON.parse(await readFile(join(dir, 'packed.json'), 'utf8')) as [
    { filename: string, files: Array<{ path: string }> }
  ]
  const manifest = JSON.parse(await readFile(join(dir, 'package.json'), 'utf8')) as Manifest
  return { tarball: join(dir, filename), files: files.map(({ path }) => path), manifest }
}

/** The directory appears at once or not at all: other processes may be reading it. */
async function keep (kept: string, files: string[]): Promise<void> {
  try {
    await mkdir(dirname(kept), { recursive: true })
    const written = await mkdtemp(`${kept}-`)
    for (const file of files) await cp(file, join(written, basename(file)))
    await rename(written, kept).catch(() => rm(written, { recursive: true }))
  } catch {
    // If this directory is not writable, each process packs for itself.
  }
}

/** A hash of the content of files and folders, by name, and of what builds them. */
async function digest (names: string[]): Promise<string> {
  const hash = createHash('sha256').update(`${process.version} ${ts.version}`)
  for (const name of names) {
    const path = join(ROOT, name)
    const files = (await stat(path)).isFile()
      ? [path]
      : (await readdir(path, { recursive: true, withFileTypes: true }))
          .filter(entry => entry.isFile())
          .map(entry => join(entry.parentPath, entry.name))
          .sort()
    for (const file of files) hash.update(`\n${relative(ROOT, file)}\n`).update(await readFile(file))
  }
  return hash.digest('hex')
}

/** A new project with these files, the packed tarball, and these packages in the versions that the tests use. */
export async function install (
  t: Test,
  { tarball, manifest }: Packed,
  files: Record<string, string>,
  packages: string[]
): Promise<string> {
  const dir = await scratch(t)
  for (const [name, content] of Object.entries({
    'package.json': '{ "name": "user", "version": "1.0.0", "private": true }',
    ...files
  })) {
    await mkdir(dirname(join(dir, name)), { recursive: true })
    await writeFile(join(dir, name), content)
  }
  await npmInstall(dir, [tarball, ...packages.map(name => `${name}@${versionOf(name, manifest)}`)])
  return dir
}

export async function npmInstall (dir: string, packages: string[]): Promise<void> {
  await npm(dir, 'install', '--no-audit', '--no-fund', '--ignore-scripts', ...packages)
}

/** The path of the tarball of a package, which npm writes into the directory. */
export async function fetchTarball (dir: string, name: string): Promise<string> {
  return join(dir, (await npm(dir, 'pack', '--silent', name)).trim())
}

/** @throws {Error} whose message begins with the packages and ends with npm's own */
async function npm (dir: string, command: string, ...args: string[]): Promise<string> {
  const { stdout } = await run('npm', [command, '--prefer-offline', ...args], { cwd: dir })
    .catch((error: { stderr: string }) => {
      const packages = args.filter(arg => !arg.startsWith('--')).join(' ')
      throw new Error(`npm could not ${command} ${packages}; is its registry within reach?\n${error.stderr}`, {
        cause: error
      })
    })
  return stdout
}

/** The version of a package that the tests use. */
export function versionOf (name: string, { devDependencies }: Manifest): string {
  const version = devDependencies[name]
  if (version === undefined) {
    throw new Error(`${name} is to be tried with the package, but is not among the devDependencies`)
  }
  return version
}

/**
 * Runs a program of a project as its user would: without the environment that the test runner passes to its children.
 */
export async function runProgram (
  dir: string,
  node: string,
  args: string[],
  env: NodeJS.ProcessEnv = {}
): Promise<string> {
  const { NODE_OPTIONS: _, ...inherited } = process.env
  const { stdout } = await run(node, args, { cwd: dir, env: { ...inherited, ...env } })
  return stdout
}

/** Runs a file under `node:test`, and resolves to the number of its tests that passed. Rejects if one fails. */
export async function countPassed (
  dir: string,
  node: string,
  file: string,
  env: NodeJS.ProcessEnv = {}
): Promise<number> {
  const tap = await runProgram(dir, node, ['--test', '--test-reporter=tap', file], env)
  return Number(/^# pass (\d+)$/m.exec(tap)?.[1])
}

/** The names that the package's modules are imported by. The other exports (SQL, package.json) are not modules. */
export function modulesOf ({ name, exports }: Manifest): string[] {
  return Object.entries(exports)
    .filter(([, target]) => typeof target !== 'string')
    .map(([path]) => name + path.slice(1))
}

/**
 * Pays twice over a socket and prints the result, for a program that has `Fastify`, `idempotency` and `MemoryStore`.
 */
export const PAY_TWICE = `
  const app = Fastify()
  await app.register(idempotency, { store: new MemoryStore(), scope: 'global' })
  app.post('/pay', { config: { idempotency: true } }, async () => ({ paid: crypto.randomUUID() }))
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const pay = () => fetch(url + '/pay', { method: 'POST', headers: { 'idempotency-key': 'k' } })
  const [first, second] = [await pay(), await pay()]
  console.log(JSON.stringify({
    node: process.version,
    statuses: [first.status, second.status],
    same: await first.text() === await second.text(),
    replayed: second.headers.get('idempotent-replayed')
  }))
  await app.close()
`

/** One program for ESM, and one for each way that CommonJS can load the plugin. */
export const PROGRAMS: Record<string, string> = {
  'esm.mjs': "import Fastify from 'fastify'\n" +
    `import idempotency, { MemoryStore } from 'fastify-idempotency'\n${PAY_TWICE}`,
  'named.cjs': "const Fastify = require('fastify')\n" +
    `const { idempotency, MemoryStore } = require('fastify-idempotency')\n;(async () => {${PAY_TWICE}})()`,
  'whole.cjs': "const Fastify = require('fastify')\nconst idempotency = require('fastify-idempotency')\n" +
    `const { MemoryStore } = idempotency\n;(async () => {${PAY_TWICE}})()`
}

/** The contract of stores under `node:test`, from ESM and from CommonJS. */
const RUN_CONTRACT = `
  const store = new MemoryStore()
  describe('MemoryStore', { concurrency: true }, () => {
    for (const { name, run } of storeContract) it(name, () => run({ store, other: store }))
  })
`
export const CONTRACTS: Record<string, string> = {
  'contract.mjs': "import { describe, it } from 'node:test'\nimport { MemoryStore } from 'fastify-idempotency'\n" +
    `import { storeContract } from 'fastify-idempotency/store-contract'\n${RUN_CONTRACT}`,
  'contract.cjs': "const { describe, it } = require('node:test')\n" +
    "const { MemoryStore } = require('fastify-idempotency')\n" +
    `const { storeContract } = require('fastify-idempotency/store-contract')\n${RUN_CONTRACT}`
}
