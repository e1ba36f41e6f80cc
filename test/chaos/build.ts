import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, extname, join, resolve } from 'node:path'
import ts from 'typescript'
import { protect } from '../servers/reaper.ts'

const PROJECT = resolve(import.meta.dirname, '../..')
/** What the processes of a run need. */
const SOURCES = [
  'plugin', 'demo-app',
  ...['clock', 'faults', 'preload', 'settings', 'tell', 'work-route'].map(name => `test/chaos/${name}.ts`)
]

/** A change of one place in one file, which breaks what a promise rests on. */
export interface Patch {
  file: string
  /** Must be there exactly once. */
  replace: string
  by: string
}

/** The suite's own routes beside the demo's. */
const WITH_WORK: Patch = {
  file: 'demo-app/app.ts',
  replace: '  await app.register(notifyRoute, { provider })\n',
  by: `  await app.register(notifyRoute, { provider })
  await app.register((await import('../test/chaos/work-route.js')).workRoutes)
`
}

export interface Build {
  directory: string
  remove (): void
}

/**
 * The plugin and the demo app in a directory of their own, as JavaScript: processes start in half the time, and whoever
 * edits the project while a run goes on does not change what is tested.
 * @throws if what a patch replaces is not there, or not once
 */
export function build (patches: Patch[] = []): Build {
  const directory = mkdtempSync(join(tmpdir(), 'test-chaos-'))
  protect(directory)
  const remove = (): void => { rmSync(directory, { recursive: true, force: true }) }
  try {
    for (const file of SOURCES.flatMap(filesOf)) {
      const target = join(directory, file)
      mkdirSync(dirname(target), { recursive: true })
      if (extname(file) !== '.ts') copyFileSync(join(PROJECT, file), target)
      else writeFileSync(target.replace(/\.ts$/, '.js'), toJavaScript(patched(file, [WITH_WORK, ...patches])))
    }
    for (const { file } of patches) readFileSync(join(directory, file.replace(/\.ts$/, '.js')))
    writeFileSync(join(directory, 'package.json'), '{"type":"module"}')
    symlinkSync(join(PROJECT, 'node_modules'), join(directory, 'node_modules'))
    return { directory, remove }
  } catch (error) {
    remove()
    throw error
  }
}

function filesOf (source: string): string[] {
  if (extname(source) !== '') return [source]
  return readdirSync(join(PROJECT, source), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name).slice(PROJECT.length + 1))
}

function patched (file: string, patches: Patch[]): string {
  let source = readFileSync(join(PROJECT, file), 'utf8')
  for (const { replace, by } of patches.filter(patch => patch.file === file)) {
    const times = source.split(replace).length - 1
    if (times !== 1) throw new Error(`${file} has ${times} places to patch, not one: ${replace}`)
    source = source.replace(replace, () => by)
  }
  return source
}

function toJavaScript (source: string): string {
  return ts.transpileModule(source, {
    compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext, rewriteRelativeImportExtensions: true, verbatimModuleSyntax: true }
  }).outputText
}
