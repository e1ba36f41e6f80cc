import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CACHE = join(ROOT, 'node_modules/.cache/fastify-idempotency/typescript')
/** What a translation depends on besides the source and its name. */
const TRANSLATOR = require('typescript/package.json').version + readFileSync(new URL(import.meta.url), 'utf8')

/** Replaces the handling of TypeScript files by Node.js itself. */
export async function load (url, context, nextLoad) {
  if (!url.startsWith('file:') || !/\.ts(?:\?|$)/.test(url)) return nextLoad(url, context)
  return { format: 'module', source: translationOf(fileURLToPath(url)), shortCircuit: true }
}

function translationOf (file) {
  const source = readFileSync(file, 'utf8')
  const name = basename(file)
  const kept = join(CACHE, `${createHash('sha256').update(`${TRANSLATOR}\n${name}\n${source}`).digest('hex')}.js`)
  try {
    return readFileSync(kept, 'utf8')
  } catch {
    const translation = translate(source, name)
    keep(kept, translation)
    return translation
  }
}

/** The output has a source map, so that stack traces name the lines of the source. */
function translate (source, name) {
  // The compiler is loaded only here: loading it takes longer than most tests run.
  const { ModuleKind, ScriptTarget, transpileModule } = require('typescript')
  return transpileModule(source, {
    fileName: name,
    compilerOptions: {
      target: ScriptTarget.ES2023,
      module: ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      inlineSourceMap: true
    }
  }).outputText
}

/** The file appears at once or not at all: other processes may be reading it. */
function keep (file, translation) {
  const written = `${file}.${randomUUID()}`
  try {
    mkdirSync(CACHE, { recursive: true })
    writeFileSync(written, translation)
    renameSync(written, file)
  } catch {
    // If the directory is not writable, each process translates for itself.
  }
}
