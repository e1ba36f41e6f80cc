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

/** They take long, or say for the whole process how long they may take: in a process of their own, and begun first. */
const ALONE = /^test\/(chaos\/(variants|short|boundaries)|client\/(fetch|undici)-rules|node-versions|package)\./

/**
 * Runs test files by tap, several of a directory in one process, one after the other. Each is announced by a subtest
 * with its path, which fails if it cannot be loaded.
 * @returns the exit code of tap
 */
export async function runTogether (files: string[], options: { args?: string[], env?: NodeJS.ProcessEnv } = {}): Promise<number> {
  const { args = [], env = process.env } = options
  const directory = join(GROUPS, String(process.pid))
  mkdirSync(directory, { recursive: true })
  try {
    const alone = files.filter(file => ALONE.test(file))
    const groups = grouped(files.filter(file => !ALONE.test(file)), directory)
    const tap = spawn('tap', [...args, ...alone, ...groups], { stdio: 'inherit', env })
    const [code] = await once(tap, 'exit') as [number | null]
    return code ?? 1
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Writes modules that run the files, and gives their paths. */
function grouped (files: string[], directory: string): string[] {
  return [...groupBy(files, dirname)].flatMap(([of, files]) => {
    const count = Math.ceil(files.length / PER_PROCESS)
    return Array.from({ length: count }, (_, n) => {
      const group = join(directory, `${basename(of)}-${n + 1}.test.mjs`)
      writeFileSync(group, moduleFor(files.filter((_, i) => i % count === n)))
      return group
    })
  })
}

/** What a file tests is queued behind the subtest that loads it, and the next file's behind that. */
function moduleFor (files: string[]): string {
  const loaded = files.map(file => `await t.test(${JSON.stringify(file)}, async () => { await import(${JSON.stringify(pathToFileURL(resolve(file)).href)}) })`)
  return ["import t from 'tap'", ...loaded, ''].join('\n')
}
