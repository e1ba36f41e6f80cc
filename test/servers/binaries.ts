import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** A person has to install something. The message says what, so it is printed without a stack trace. */
export class MissingBinaryError extends Error {
  override name = 'MissingBinaryError'
}

export interface Machine {
  path: string
  /** REDIS_SERVER_BIN: the binary that the launcher found, or one that the user chose. */
  givenRedisServer: string | undefined
  /** Directories, beside those of the PATH, that may contain Postgres. */
  postgresPlaces: () => string[]
  isRoot: boolean
  /** Whether the machine has apt-get, as Debian and Ubuntu do. */
  hasApt: boolean
}

export function thisMachine (): Machine {
  const path = process.env.PATH ?? ''
  return {
    path,
    givenRedisServer: process.env.REDIS_SERVER_BIN,
    postgresPlaces,
    isRoot: process.getuid?.() === 0,
    hasApt: existsSync('/etc/debian_version') && find(['apt-get'], directories(path)) !== null
  }
}

/**
 * The path of `redis-server`, 7.0 or later.
 * @throws {MissingBinaryError}
 */
export function redisServer (machine = thisMachine()): string {
  const given = machine.givenRedisServer
  const locate = (): string => findOrInstall(machine, ['redis-server'], 'redis-server', () => directories(machine.path))
  const binary = given !== undefined && given !== '' ? given : join(locate(), 'redis-server')
  const version = /v=([\d.]+)/.exec(versionOf(binary))?.[1] ?? 'unknown'
  if (!(Number.parseInt(version) >= 7)) {
    throw new MissingBinaryError('The tests need redis-server 7.0 or later, and the version of ' +
      `${binary} is ${version}: install a newer one, or name it in REDIS_SERVER_BIN`)
  }
  return binary
}

/**
 * The directory of `initdb` and `postgres`.
 * @throws {MissingBinaryError}
 */
export function postgresDirectory (machine = thisMachine()): string {
  return findOrInstall(machine, ['initdb', 'postgres'], 'postgresql', () => [
    ...directories(machine.path),
    ...machine.postgresPlaces()
  ])
}

/**
 * The path of a program that has one of these names. The first name is that in its Debian package.
 * @throws {MissingBinaryError}
 */
export function program (names: [string, ...string[]], debianPackage: string, machine = thisMachine()): string {
  const places = [...directories(machine.path), ...SYSTEM_PLACES]
  for (const name of names) {
    const found = find([name], places)
    if (found !== null) return join(found, name)
  }
  return join(findOrInstall(machine, [names[0]], debianPackage, () => places), names[0])
}

/** Directories of servers, which are not in every user's PATH. */
const SYSTEM_PLACES = ['/usr/sbin', '/usr/local/sbin']

function versionOf (binary: string): string {
  try {
    return execFileSync(binary, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  } catch {
    return ''
  }
}

/** Debian and Homebrew install it outside of the PATH, in a directory for each version. The newest comes first. */
function postgresPlaces (): string[] {
  const versions = (parent: string, pattern: RegExp): string[] => (existsSync(parent) ? readdirSync(parent) : [])
    .flatMap(name => pattern.exec(name)?.[1] ?? [])
    .sort((a, b) => Number(b) - Number(a))
  return [
    ...versions('/usr/lib/postgresql', /^(\d+)$/).map(version => `/usr/lib/postgresql/${version}/bin`),
    '/usr/local/pgsql/bin',
    ...['/opt/homebrew', '/usr/local'].flatMap(brew => [
      join(brew, 'bin'),
      ...versions(join(brew, 'opt'), /^postgresql@(\d+)$/)
        .map(version => join(brew, 'opt', `postgresql@${version}`, 'bin'))
    ])
  ]
}

/** The directory that contains all of these binaries. If there is none, installs `debianPackage`. */
function findOrInstall (machine: Machine, names: string[], debianPackage: string, places: () => string[]): string {
  const found = find(names, places())
  if (found !== null) return found
  const advice = `The tests need ${names.join(' and ')}, not found on this machine: ` +
    `install the package ${debianPackage} (on Debian or Ubuntu: sudo apt-get install ${debianPackage})`
  if (!machine.isRoot || !machine.hasApt) throw new MissingBinaryError(advice)
  process.stderr.write(`tests: installing ${debianPackage} with apt-get, to get ${names.join(' and ')}\n`)
  try {
    install(machine, debianPackage)
  } catch (error) {
    const { stderr } = error as { stderr?: string }
    const reason = stderr?.trim().split('\n').at(-1) ?? String(error)
    throw new MissingBinaryError(`${advice}; installing it with apt-get failed: ${reason}`, { cause: error })
  }
  const installed = find(names, places())
  if (installed === null) {
    throw new MissingBinaryError(`${advice}; apt-get installed it, but not where it was looked for`)
  }
  return installed
}

let listsAreNew = false

function install (machine: Machine, debianPackage: string): void {
  // On a new machine, automatic updates may hold the lock.
  const aptGet = (...args: string[]): void => {
    execFileSync('apt-get', ['-o', 'DPkg::Lock::Timeout=120', ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, PATH: machine.path, DEBIAN_FRONTEND: 'noninteractive' }
    })
  }
  if (!listsAreNew) aptGet('update')
  listsAreNew = true
  aptGet('install', '-y', '--no-install-recommends', debianPackage)
}

function directories (path: string): string[] {
  return path.split(delimiter).filter(directory => directory !== '')
}

function find (names: string[], places: string[]): string | null {
  return places.find(place => names.every(name => isExecutable(join(place, name)))) ?? null
}

function isExecutable (file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
