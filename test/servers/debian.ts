import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'

/** A server from another Debian release than this machine's, and the libraries that it needs. */
interface Packaged {
  suite: string
  packages: string[]
  /** The path of the server in its packages. */
  program: string
}

export const REDIS_6: Packaged = {
  suite: 'bullseye',
  packages: [
    'redis-server', 'redis-tools', 'libhiredis0.14', 'liblua5.1-0', 'lua-cjson', 'lua-bitop', 'libssl1.1', 'liblzf1',
    'libjemalloc2', 'libatomic1', 'libsystemd0', 'libgcrypt20', 'libgpg-error0', 'liblzma5', 'liblz4-1', 'libzstd1',
    'libcap2', 'libstdc++6', 'libgcc-s1', 'libc6'
  ],
  program: 'usr/bin/redis-server'
}

export const VALKEY_8: Packaged = {
  suite: 'trixie',
  packages: [
    'valkey-server', 'valkey-tools', 'libhiredis1.1.0', 'libssl3t64', 'liblzf1', 'libjemalloc2', 'libatomic1',
    'libsystemd0', 'libcap2', 'libzstd1', 'zlib1g', 'libstdc++6', 'libgcc-s1', 'libc6'
  ],
  program: 'usr/bin/valkey-server'
}

/**
 * The path of a program that starts the server. Its packages come from the mirror that this machine uses. They are
 * unpacked and kept for the next time, but not installed.
 * @returns `null` if the packages are not available: the machine has no apt, or cannot reach the mirror
 */
export function unpacked ({ suite, packages, program }: Packaged): string | null {
  const kept = join(tmpdir(), `fastify-idempotency-${suite}-${basename(program)}-${process.getuid?.() ?? 'any'}`)
  const started = join(kept, 'start')
  if (existsSync(started)) return started
  const directory = mkdtempSync(`${kept}-`)
  try {
    const aptGet = aptOf(directory, suite)
    aptGet('update')
    aptGet('download', ...packages)
    const root = join(directory, 'root')
    for (const file of readdirSync(directory).filter(name => name.endsWith('.deb'))) {
      execFileSync('dpkg-deb', ['-x', join(directory, file), root])
    }
    /** The paths, relative to `root`, of the entries of these directories that `matches` accepts. */
    const entries = (within: string[], matches: (name: string) => boolean): string[] => within
      .filter(path => existsSync(join(root, path)))
      .flatMap(path => readdirSync(join(root, path)).filter(matches).map(name => join(path, name)))
    const libraries = entries(['lib', 'usr/lib'], name => name.endsWith('-linux-gnu'))
    const [loader] = entries(libraries, name => name.startsWith('ld-linux'))
    const within = (path: string): string => `"$here/root/${path}"`
    writeFileSync(join(directory, 'start'), `#!/bin/sh
here=$(dirname "$0")
exec ${within(loader as string)} --library-path ${libraries.map(within).join(':')} ${within(program)} "$@"
`, { mode: 0o755 })
    for (const name of readdirSync(directory)) {
      if (name !== 'root' && name !== 'start') rmSync(join(directory, name), { recursive: true })
    }
    // Another process may have finished first.
    if (!existsSync(started)) renameSync(directory, kept)
    return started
  } catch {
    return existsSync(started) ? started : null
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** An apt-get for this release only, which changes nothing outside of `directory`. */
function aptOf (directory: string, suite: string): (...args: string[]) => void {
  for (const path of ['lists/partial', 'cache/archives/partial', 'root']) {
    mkdirSync(join(directory, path), { recursive: true })
  }
  const sites = execFileSync(
    'apt-get',
    ['indextargets', '--format', '$(SITE)', 'Created-By: Packages', 'Component: main'],
    { encoding: 'utf8' }
  )
  // The site of the release has a shorter name than that of its security updates.
  const [site = ''] = sites.trim().split('\n').sort((a, b) => a.length - b.length)
  writeFileSync(join(directory, 'sources.list'), `deb ${site} ${suite} main\n`)
  writeFileSync(join(directory, 'status'), '')
  const settings = [
    `Dir::Etc::sourcelist=${join(directory, 'sources.list')}`,
    'Dir::Etc::sourceparts=-',
    `Dir::State=${directory}`,
    `Dir::State::status=${join(directory, 'status')}`,
    `Dir::Cache=${join(directory, 'cache')}`,
    'APT::Sandbox::User=root'
  ]
  return (...args) => {
    execFileSync('apt-get', [...settings.flatMap(setting => ['-o', setting]), ...args], {
      cwd: directory,
      stdio: 'ignore',
      timeout: 120_000
    })
  }
}
