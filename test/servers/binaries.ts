import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Something that a person has to install; the message is all there is to say. */
export class MissingBinaryError extends Error {
  override name = 'MissingBinaryError'
}

export interface Machine {
  path: string
  isRoot: boolean
  /** Whether apt-get may be used: Debian, Ubuntu and their like. */
  hasApt: boolean
}

export function thisMachine (): Machine {
  const path = process.env.PATH ?? ''
  return { path, isRoot: process.getuid?.() === 0, hasApt: existsSync('/etc/debian_version') && find('apt-get', directories(path)) !== null }
}

/**
 * The path of `redis-server`, 7.0 or later.
 * @throws {MissingBinaryError}
 */
export function redisServer (machine = thisMachine()): string {
  const binary = process.env.REDIS_SERVER_BIN ?? findOrInstall(machine, 'redis-server', ['redis-server'], () => directories(machine.path))
  const major = /v=(\d+)/.exec(execFileSync(binary, ['--version'], { encoding: 'utf8' }))?.[1]
  if (Number(major) < 7) throw new MissingBinaryError(`The tests need redis-server 7.0 or later, and ${binary} is version ${major}: install a newer one`)
  return binary
}

/**
 * The directory of `initdb` and `postgres`.
 * @throws {MissingBinaryError}
 */
export function postgresDirectory (machine = thisMachine()): string {
  const initdb = findOrInstall(machine, 'initdb', ['postgresql'], () => [...debianPostgres(), ...directories(machine.path), '/usr/local/pgsql/bin', '/opt/homebrew/bin'])
  return join(initdb, '..')
}

/** Debian keeps them off the PATH, one directory a version; the newest first. */
function debianPostgres (): string[] {
  const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql') : []
  return versions.sort((a, b) => Number(b) - Number(a)).map(version => join('/usr/lib/postgresql', version, 'bin'))
}

function findOrInstall (machine: Machine, name: string, packages: string[], places: () => string[]): string {
  const found = find(name, places())
  if (found !== null) return found
  if (machine.isRoot && machine.hasApt) {
    process.stderr.write(`tests: installing ${packages.join(' ')} with apt-get, since there is no ${name}\n`)
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    execFileSync('apt-get', ['update'], { stdio: 'ignore', env })
    execFileSync('apt-get', ['install', '-y', '--no-install-recommends', ...packages], { stdio: ['ignore', 'ignore', 'inherit'], env })
    const installed = find(name, places())
    if (installed !== null) return installed
  }
  throw new MissingBinaryError(`The tests need ${name}, which is not on this machine: install the package ${packages.join(' ')} (on Debian or Ubuntu: sudo apt-get install ${packages.join(' ')})`)
}

function directories (path: string): string[] {
  return path.split(delimiter).filter(directory => directory !== '')
}

function find (name: string, places: string[]): string | null {
  for (const place of places) {
    const candidate = join(place, name)
    try {
      accessSync(candidate, constants.X_OK)
      return candidate
    } catch {}
  }
  return null
}
