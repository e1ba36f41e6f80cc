import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { groupBy } from './chaos/group-by.ts'

/** The directory in which tap keeps its own files. */
const GROUPS = resolve(import.meta.dirname, '../.tap/groups')

/** One process runs this many files: loading what they import takes longer than most of them run. */
const PER_PROCESS = 10

/** These files take long: each gets a process of its own, and these processes start first. */
const LONGEST = [
  'chaos/variants', 'node-versions', 'package', 'chaos/short', 'client/fetch-rules', 'client/undici-rules',
  'chaos/boundaries'
].map(name => `test/${name}.test.ts`)

/** The files of these directories take long too and start next: at the end nothing would be left to run beside them. */
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
      // Tap uses these names.
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

/** The files that run together, in the order in which the groups start. */
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

/**
 * Tap would watch every process that a test starts, for coverage that is not wanted. Without that, they start in half
 * the time.
 */
const UNWATCHED = `import processOnSpawn from 'process-on-spawn'
processOnSpawn.removeAllListeners()
delete process.env.NODE_OPTIONS`

/** The tests of a file are queued behind the subtest that loads it, and the next file's behind them. */
function moduleFor (files: string[]): string {
  const loaded = files.map(
    file =>
      `await t.test(${JSON.stringify(file)}, ` +
        `async () => { await import(${JSON.stringify(pathToFileURL(resolve(file)).href)}) })`
  )
  return ["import t from 'tap'", UNWATCHED, ...loaded, ''].join('\n')
}
