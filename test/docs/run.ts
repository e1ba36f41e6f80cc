import { dirname } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { REDIS_URL } from '../helper.ts'
import { runProgram } from '../packed.ts'
import { IMPORT_TYPESCRIPT } from '../typescript/import.ts'
import { ownDatabase } from './database.ts'
import type { Declared } from './declared.ts'
import { give } from './given.ts'
import type { Given } from './given.ts'
import { readPage } from './markdown.ts'
import type { Block } from './markdown.ts'
import { givenNames, POSTGRES, REDIS, titleOf, workspace } from './workspace.ts'

/** What a block was given and what it declared, by name. */
export type Names = Omit<Given, keyof Declared> & Declared

/** Checks that a block did what its page says, after it has run. */
export type Check = (t: Test, names: Names) => Promise<void>

/** Runs every `ts` block of a page, and then its check, which has the name of the block's heading. */
export async function testPage (
  file: string, checks: Record<string, Check>, { redisUrl = REDIS_URL }: { redisUrl?: string } = {}
): Promise<void> {
  const { blocks } = await readPage(file)
  const runnable = blocks.filter(({ language, notRunBecause }) => language === 'ts' && notRunBecause === null)
  t.test(`${file}: each of its blocks is run, and each check has its block`, async (t) => {
    t.same(Object.keys(checks).sort(), runnable.map(({ name }) => name).sort())
  })
  const needsDatabase = runnable.some(({ code }) => code.includes(POSTGRES))
  const { moduleOf } = await workspace(t, runnable, {
    [REDIS]: redisUrl,
    ...(needsDatabase && { [POSTGRES]: await ownDatabase(t) })
  })
  for (const block of runnable) {
    t.test(titleOf(block), async (t) => {
      const given = await give(t, titleOf(block), givenNames(block))
      const declared = block.apart ? await runApart(moduleOf(block)) : await load(t, moduleOf(block), block)
      await checks[block.name]?.(t, { ...given, ...declared })
    })
  }
}

/** @throws {Error} if the process ends with another code than 0 */
async function runApart (module: string): Promise<Declared> {
  return { output: await runProgram(dirname(module), process.execPath, [IMPORT_TYPESCRIPT, module]) } as Declared
}

/** Runs the module. What it declared is closed when the test ends. */
async function load (t: Test, module: string, block: Block): Promise<Declared> {
  const declared = await import(module).catch((cause: unknown) => {
    throw new Error(`${block.file}:${block.line}: this block does not run`, { cause })
  }) as Declared
  for (const value of Object.values(declared) as unknown[]) closeLater(t, value)
  return declared
}

/** Closes what can be closed: listeners for signals, a client of Redis, an app, a pool. */
function closeLater (t: Test, value: unknown): void {
  if (typeof value !== 'object' || value === null) return
  type Closing = 'uninstall' | 'disconnect' | 'close' | 'end'
  const { uninstall, disconnect, close, end } = value as Partial<Record<Closing, () => unknown>>
  const method = uninstall ?? disconnect ?? close ?? end
  if (typeof method === 'function') t.teardown(() => method.call(value))
}
