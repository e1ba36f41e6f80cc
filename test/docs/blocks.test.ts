import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { documented, readPage, ROOT } from './markdown.ts'
import type { Block } from './markdown.ts'
import { LINES_BEFORE, workspace } from './workspace.ts'

/**
 * The languages of blocks: code that is compiled and run, commands that are run, alerts and manifests, configurations
 * that test/clients runs, and drawings.
 */
const LANGUAGES = ['ts', 'sh', 'yaml', 'haproxy', 'nginx', '']

const blocks = (await Promise.all((await documented()).map(readPage))).flatMap(page => page.blocks)

t.test('every block of code in the documentation compiles against the sources', async (t) => {
  const code = blocks.filter(({ language }) => language === 'ts')
  const { dir, moduleOf } = await workspace(t, code)
  const compiler = [join(ROOT, 'node_modules/typescript-7/lib/tsc.js'), '--listFiles', '--pretty', 'false']
  const { stdout } = await promisify(execFile)(process.execPath, compiler, { cwd: dir, maxBuffer: 2 ** 26 })
    .catch((error: { stdout: string }) => error)
  const lines = stdout.split('\n')
  const compiled = new Set(lines.map(line => line.trim()))
  const leftOut = code.filter(block => !compiled.has(moduleOf(block)))
  t.same(leftOut.map(({ file, line }) => `${file}:${line}`), [], 'none is left out')
  t.same(lines.filter(line => /\berror TS\d+:/.test(line)).map(line => located(line, code, moduleOf)), [])
})

t.test('every block says what language it is in, and few are not run', async (t) => {
  const unknown = blocks.filter(({ language }) => !LANGUAGES.includes(language))
  t.same(unknown.map(({ file, line, language }) => `${file}:${line}: ${language}`), [])
  const notRun = blocks.filter(({ notRunBecause }) => notRunBecause !== null)
  t.same(
    notRun.map(({ file, name }) => `${file}: ${name}`),
    ['README.md: Quick start'],
    'so that nobody adds one by accident'
  )
})

t.test('every page with code has a test that runs its blocks', async (t) => {
  const tests = [
    ...(await readdir(import.meta.dirname)).filter(name => name.endsWith('.test.ts')),
    // Its blocks need more than the servers that all tests have.
    '../clients/queues.clients.ts'
  ]
  const sources = (await Promise.all(tests.map(name => readFile(join(import.meta.dirname, name), 'utf8')))).join('\n')
  for (const file of new Set(blocks.filter(({ language }) => language === 'ts').map(({ file }) => file))) {
    t.ok(sources.includes(`await testPage('${file}', {`), file)
  }
})

/** An error of the compiler, with the page and line that it is about. */
function located (error: string, blocks: Block[], moduleOf: (block: Block) => string): string {
  const [, path, line, message] = /^(.+?)\((\d+),\d+\): error (.+)$/.exec(error) ?? []
  const block = blocks.find(block => path !== undefined && moduleOf(block).endsWith(path))
  return block === undefined ? error : `${block.file}:${block.line + Number(line) - 1 - LINES_BEFORE}: ${message}`
}
