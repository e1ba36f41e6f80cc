import { execFile } from 'node:child_process'
import { lstat, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { table } from './report.ts'

/*
 * npm run size
 *
 * What it costs to install the plugin and its peers, each in an empty project: what they bring along by themselves, and
 * with the Redis client that each is used with here. The web framework is not counted, every app has its own.
 */

interface Subject {
  name: string
  /** The packages that are installed: the library, and its adapter for Redis if that is a package of its own. */
  packages: string[]
  /** The Redis client, if the library does not depend on it. */
  client?: string
}

interface Size {
  packages: number
  bytes: number
}

const SUBJECTS: Subject[] = [
  { name: 'fastify-idempotency', packages: [join(import.meta.dirname, '..')], client: 'ioredis' },
  { name: '@node-idempotency/core', packages: ['@node-idempotency/core', '@node-idempotency/storage-adapter-redis'] },
  {
    name: '@aws-lambda-powertools/idempotency',
    packages: ['@aws-lambda-powertools/idempotency'],
    client: '@redis/client'
  },
  { name: 'express-idempotency', packages: ['express-idempotency', 'express-idempotency-redis-adapter'] }
]

const run = promisify(execFile)
const scratch = await mkdtemp(join(tmpdir(), 'fastify-idempotency-size-'))
try {
  const rows: string[][] = []
  for (const { name, packages, client } of SUBJECTS) {
    const archives = await Promise.all(packages.map(pack))
    const alone = await install(archives.map(({ path }) => path))
    const whole = client === undefined ? alone : await install([...archives.map(({ path }) => path), client])
    rows.push([
      name,
      kilobytes(archives.reduce((sum, { bytes }) => sum + bytes, 0)),
      String(alone.packages),
      kilobytes(alone.bytes),
      String(whole.packages),
      kilobytes(whole.bytes)
    ])
  }
  const head = ['', 'tarballs, kB', 'packages', 'installed, kB', 'packages with client', 'installed with client, kB']
  process.stdout.write(`${table(head, rows)}\n`)
} finally {
  await rm(scratch, { recursive: true, force: true })
}

/** Downloads the archive that is published, or packs it. */
async function pack (spec: string): Promise<{ path: string, bytes: number }> {
  const { stdout } = await run(
    'npm',
    ['pack', '--json', '--ignore-scripts', '--prefer-offline', '--pack-destination', scratch, spec],
    { cwd: join(import.meta.dirname, '..') }
  )
  const [{ filename, size }] = JSON.parse(stdout) as [{ filename: string, size: number }]
  return { path: join(scratch, filename), bytes: size }
}

/** Installs the packages into an empty project, without peer dependencies, and measures its `node_modules`. */
async function install (specs: string[]): Promise<Size> {
  const dir = await mkdtemp(join(scratch, 'project-'))
  await writeFile(join(dir, 'package.json'), '{ "private": true }')
  await run(
    'npm',
    [
      'install', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts', '--omit=peer',
      '--legacy-peer-deps', ...specs
    ],
    { cwd: dir }
  )
  const { stdout } = await run('npm', ['query', '*', '--expect-results'], { cwd: dir })
  const found = JSON.parse(stdout) as Array<{ location: string }>
  return {
    packages: found.filter(({ location }) => location !== '').length,
    bytes: await bytesIn(join(dir, 'node_modules'))
  }
}

async function bytesIn (dir: string): Promise<number> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  // The files that npm itself writes about the installation do not count.
  const files = entries.filter(entry => entry.isFile() && entry.name !== '.package-lock.json')
  const sizes = await Promise.all(files.map(async file => (await lstat(join(file.parentPath, file.name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

function kilobytes (bytes: number): string {
  return (bytes / 1_000).toFixed(0)
}
