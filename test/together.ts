import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { groupBy } from './chaos/group-by.ts'

/** Where tap keeps what is its own. */
const GROUPS = resolve(import.meta.dirname, '../.tap/groups')

/** As many files are run by one process: it takes longer to load what they import than most of them take. */
const PER_PROCESS = 10

/** They take long: in processes of their own, which are begun first. */
const LONGEST = [
  'chaos/variants', 'node-versions', 'package', 'chaos/short', 'client/fetch-rules', 'client/undici-rules',
  'chaos/boundaries'
].map(name => `test/${name}.test.ts`)

/** So do those of these directories, which are begun next: at the end there would be nothing to do beside them. */
const LONG = ['test', 'test/demo', 'test/processes', 'test/servers', 'test/store']

/**
 * Runs test files by tap, several of a directory in one process, one after the other. Each is announced by a subtest
 * with its path, which fails if it cannot be loaded.
 * @returns the exit code of tap
 */
export async function runTogether (
  files: string[],
  options: { args?: string[], env?: NodeJS.ProcessEnv } = {}
): Promise<number> {
  const { args = [], env = process.env } = options
  const directory = join(GROUPS, String(process.pid))
  mkdirSync(directory, { recursive: true })
  try {
    const groups = groupsOf(files).map(({ name, files }, n) => {
      // Tap goes by names.
      const group = join(directory, `${String(n + 1).padStart(2, '0')}-${name}.test.mjs`)
      writeFileSync(group, moduleFor(files))
      return group
    })
    const tap = spawn('tap', [...args, ...groups], { stdio: 'inherit', env })
    const [code] = await once(tap, 'exit') as [number | null]
    return code ?? 1
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Which files go together, in the order in which they are begun. */
function groupsOf (files: string[]): Array<{ name: string, files: string[] }> {
  const alone = LONGEST.filter(file => files.includes(file)).map(file => ({
    name: basename(file, '.test.ts'),
    files: [file]
  }))
  const others = files.filter(file => !LONGEST.includes(file))
  const isLong = (file: string): boolean => LONG.includes(dirname(file))
  const directories = groupBy([...others.filter(isLong), ...others.filter(file => !isLong(file))], dirname)
  return [...alone, ...[...directories].flatMap(([directory, files]) => {
    const count = Math.ceil(files.length / PER_PROCESS)
    return Array.from({ length: count }, (_, n) => ({
      name: basename(directory),
      files: files.filter((_, i) => i % count === n)
    }))
  })]
}

/** Tap would watch every process that a test starts, for coverage that nobody asks for: they start in half the time. */
const UNWATCHED = `import processOnSpawn from 'process-on-spawn'
processOnSpawn.removeAllListeners()
delete process.env.NODE_OPTIONS`

/** What a file tests is queued behind the subtest that loads it, and the next file's behind that. */
function moduleFor (files: string[]): string {
  const loaded = files.map(
    file =>
      `await t.test(${JSON.stringify(file)}, ` +
        `async () => { await import(${JSON.stringify(pathToFileURL(resolve(file)).href)}) })`
  )
  return ["import t from 'tap'", UNWATCHED, ...loaded, ''].join('\n')
}
