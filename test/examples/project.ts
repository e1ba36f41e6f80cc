import { spawn } from 'node:child_process'
import { cp, mkdir, readFile, symlink } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import type { Test } from 'tap'
import { ROOT, run, scratch } from '../packed.ts'
import type { Packed } from '../packed.ts'
import { watchServer } from '../servers/process.ts'
import type { ServerProcess } from '../servers/process.ts'
import { protectGroup } from '../servers/reaper.ts'

export interface ExampleManifest {
  type: string
  private: boolean
  engines: { node: string }
  scripts: Record<string, string>
  dependencies: Record<string, string>
  devDependencies?: Record<string, string>
}

export interface Project {
  dir: string
  manifest: ExampleManifest
}

/** Packages that the project of the tests has under another name, because it has them in two versions. */
const ALIASES: Record<string, string> = { typescript: 'typescript-7' }

/** Where the project of the tests has a package of an example. */
export function ownName (name: string): string {
  return ALIASES[name] ?? name
}

/**
 * Copies an example into a folder of its own, as a stranger would, and gives it the packages that it asks for: the
 * packed tarball, and links to what the tests have installed. It cannot import a package that it does not ask for.
 */
export async function copyExample (t: Test, name: string, packed: Packed): Promise<Project> {
  const { tarball, manifest: { dependencies } } = packed
  const dir = await scratch(t)
  await cp(join(ROOT, 'examples', name), dir, { recursive: true, filter: path => !path.endsWith('/node_modules') })
  const manifest = JSON.parse(await readFile(join(dir, 'package.json'), 'utf8')) as ExampleManifest
  const installed = join(dir, 'node_modules')
  await mkdir(join(installed, 'fastify-idempotency'), { recursive: true })
  await run('tar', ['-xzf', tarball, '-C', join(installed, 'fastify-idempotency'), '--strip-components=1'])
  const wanted = Object.keys({ ...dependencies, ...manifest.dependencies, ...manifest.devDependencies })
  for (const name of wanted) if (name !== 'fastify-idempotency') await link(installed, name)
  return { dir, manifest }
}

/** Links a package and its commands, as npm installs them. */
async function link (installed: string, name: string): Promise<void> {
  const original = join(ROOT, 'node_modules', ownName(name))
  await mkdir(dirname(join(installed, name)), { recursive: true })
  await symlink(original, join(installed, name))
  const { bin = {} } = JSON.parse(await readFile(join(original, 'package.json'), 'utf8')) as {
    bin?: string | Record<string, string>
  }
  const commands = Object.entries(typeof bin === 'string' ? { [name]: bin } : bin)
  if (commands.length > 0) await mkdir(join(installed, '.bin'), { recursive: true })
  for (const [command, file] of commands) {
    await symlink(relative(join(installed, '.bin'), join(installed, name, file)), join(installed, '.bin', command))
  }
}

/** Runs a script of its package.json as npm does, but without npm, and with these variables and no others. */
export function runScript (t: Test, project: Project, script: string, env: Record<string, string> = {}): ServerProcess {
  const { dir, manifest } = project
  const PATH = `${join(dir, 'node_modules/.bin')}:${process.env.PATH}`
  // Tap adds its hooks to NODE_OPTIONS of each process that is started, for coverage that nobody asks for.
  // A group of its own: the command may start further processes, which must not outlive the test.
  const child = spawn('sh', ['-c', `unset NODE_OPTIONS; exec ${manifest.scripts[script]}`], {
    cwd: dir, env: { PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true
  })
  const pid = child.pid as number
  protectGroup(pid)
  const kill = (signal: NodeJS.Signals): void => {
    try {
      process.kill(-pid, signal)
    } catch {
      // All of them have ended.
    }
  }
  return watchServer(t, child, kill)
}
