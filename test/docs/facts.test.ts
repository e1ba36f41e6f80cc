import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { Figures } from '../../benchmarks/statistics.ts'
import { IdempotencyError, MemoryStore } from '../../plugin/index.ts'
import type { IdempotencyErrorCode, IdempotencyOptions } from '../../plugin/index.ts'
import { checkPluginOptions } from '../../plugin/options.ts'
import { documented, readPage, ROOT, rowsOf } from './markdown.ts'

/** The results of older benchmarks have only the lowest and the highest CPU. */
type Measured = Pick<Figures, 'spread'> & Partial<Figures>

/** The modes of each row of the table in benchmarks/README.md. */
const ROWS: Array<[first: string, replay: string]> = [
  ['floor first', 'floor replay'],
  ['plugin first', 'plugin replay'],
  ['', 'plugin replay cached'],
  ['memory first', 'memory replay'],
  ['by hand first', 'by hand replay'],
  ['node-idempotency first', 'node-idempotency replay'],
  ['powertools first', 'powertools replay'],
  ['', 'powertools replay cached'],
  ['express-idempotency first', 'express-idempotency replay']
]

const readme = await readPage('README.md')
const optionsPage = await readPage('docs/options.md')
/** The head of the tables of options. */
const HEAD = '| option | default | meaning |'

function knownOptions (): string[] {
  try {
    checkPluginOptions({ scope: 'global', none: 1 } as IdempotencyOptions)
  } catch (error) {
    return /known are (.+)$/.exec((error as Error).message)?.[1]?.split(', ') ?? []
  }
  return []
}

function namesIn (rows: string[][]): string[] {
  return rows.flatMap(([cell = '']) => [...cell.matchAll(/`(\w+)`/g)].map(([, name = '']) => name))
}

t.test('every option is in the table of docs/options.md, and described below it', async (t) => {
  const options = knownOptions()
  t.ok(options.length > 20, `${options.length} options`)
  t.same(namesIn(rowsOf(optionsPage.text, HEAD)).sort(), [...options].sort())
  t.same([...optionsPage.text.matchAll(/^\*\*`(\w+)`\*\*/gm)].map(([, name]) => name).sort(), [...options].sort())
})

t.test('the README has a table of eight options, each of them in docs/options.md too', async (t) => {
  const rows = rowsOf(readme.text, HEAD)
  t.equal(rows.length, 8)
  const options = knownOptions()
  t.same(namesIn(rows).filter(name => !options.includes(name)), [])
})

t.test('the defaults in the README and in docs/options.md are those of the code', async (t) => {
  const { route, ...plugin } = checkPluginOptions({ scope: 'global', store: new MemoryStore() })
  const defaults: Record<string, unknown> = { ...route, ...plugin }
  for (const [cell = '', documented = ''] of [...rowsOf(readme.text, HEAD), ...rowsOf(optionsPage.text, HEAD)]) {
    const [, name = ''] = /`(\w+)`/.exec(cell) ?? []
    const [, value = ''] = /^`(.+)`/.exec(documented) ?? []
    if (value === '' || value === '[]') continue
    t.equal(value.replaceAll('_', '').replaceAll("'", ''), shown(defaults[name]), name)
    t.ok(optionsPage.text.includes(`\n**\`${name}\`** (default \`${value}\``), `${name} in docs/options.md`)
  }
})

/** A default as the documentation writes it: `{ maxAge: 5 }` for an object. */
function shown (value: unknown): string {
  if (typeof value !== 'object' || value === null) return String(value)
  return `{ ${Object.entries(value).map(([name, member]) => `${name}: ${String(member)}`).join(', ')} }`
}

t.test('an option has a star if a route can set it, and no other has one', async (t) => {
  const { route } = checkPluginOptions({ scope: 'global', store: new MemoryStore() })
  const inRoutes = new Set([...Object.keys(route), 'key', 'fingerprint', 'sanitize'])
  for (const [cell = ''] of [...rowsOf(readme.text, HEAD), ...rowsOf(optionsPage.text, HEAD)]) {
    const [, name = ''] = /`(\w+)`/.exec(cell) ?? []
    t.equal(cell.endsWith('*'), inRoutes.has(name), name)
  }
})

t.test('the versions in docs/compatibility.md are those that the package declares', async (t) => {
  const manifest = await readFile(join(ROOT, 'package.json'), 'utf8')
  type Declared = Record<'engines' | 'peerDependencies', Record<string, string>>
  const { engines, peerDependencies } = JSON.parse(manifest) as Declared
  const { text } = await readPage('docs/compatibility.md')
  const rows = rowsOf(text, '| with | versions | needed for |')
    .filter(([name = '']) => !['Redis', 'Postgres'].includes(name))
  const documented = Object.fromEntries(rows.map(([name = '', versions]) => [name.replaceAll('`', ''), versions]))
  t.same(documented, { 'Node.js': engines.node, ...peerDependencies })
})

t.test('the figures in the README and in benchmarks/README.md are those of the last benchmark', async (t) => {
  const measured = await readFile(join(ROOT, 'benchmarks/results/results.json'), 'utf8')
  const { results } = JSON.parse(measured) as { results: Record<string, Measured> }
  const cpu = (mode: string): number => results[mode]?.best?.cpu ?? results[mode]?.spread[0] ?? NaN
  const added = (mode: string): string => (cpu(mode) - cpu('bare')).toFixed(0)
  const bare = cpu('bare').toFixed(0)
  const prose = readme.text.replaceAll('\n', ' ')
  t.match(prose, `a route that takes ${bare} µs of CPU time without the plugin`)
  t.match(prose, `a first run adds ${added('plugin first')} µs and a replay ${added('plugin replay')} µs.`)
  t.match(prose, `the least that is correct adds ${added('floor first')} and ${added('floor replay')} µs.`)
  const cached = 'plugin replay cached'
  if (results[cached] !== undefined) t.match(prose, `without a round trip, and adds ${added(cached)} µs.`)
  const benchmarks = await readPage('benchmarks/README.md')
  t.match(benchmarks.text, `(${bare} µs a request)`)
  const rows = rowsOf(benchmarks.text, '| | first run, µs | replay, µs | round trips | what it got wrong |')
  // A row for cached replays alone has no first run. Older results have no such modes.
  const expected = ROWS.filter(([, replay]) => results[replay] !== undefined)
    .map(([first, replay]) => [first === '' ? '' : added(first), added(replay)])
  t.same(rows.map(([, first, replay]) => [first, replay]), expected)
})

t.test('every refusal is in the README, with its status', async (t) => {
  const source = await readFile(join(ROOT, 'plugin/errors.ts'), 'utf8')
  const codes = [...source.matchAll(/^ {2}(FST_IDEMPOTENCY_\w+):/gm)].map(([, code]) => code as IdempotencyErrorCode)
  t.ok(codes.length >= 9, `${codes.length} codes`)
  for (const code of codes) {
    const { statusCode } = new IdempotencyError(code, '')
    t.match(readme.text, statusCode === 500 ? `\`${code}\`` : `${statusCode} \`${code}\``, code)
  }
})

t.test('everything that the package exports is shown in the documentation', async (t) => {
  const manifest = await readFile(join(ROOT, 'package.json'), 'utf8')
  const { name, exports } = JSON.parse(manifest) as { name: string, exports: Record<string, unknown> }
  const text = (await Promise.all((await documented()).map(readPage))).map(page => page.text).join('\n')
  for (const path of Object.keys(exports)) {
    if (path !== './package.json') t.match(text, `${name}${path.slice(1)}`, path)
  }
})

t.test('the migration guide speaks of options and errors that the other packages have', async (t) => {
  const { text } = await readPage('docs/migration.md')
  const packages: Record<string, string[]> = {
    '@node-idempotency/core': ['@node-idempotency/core'],
    '@aws-lambda-powertools/idempotency': ['@aws-lambda-powertools/idempotency'],
    'express-idempotency': ['express-idempotency', 'express-idempotency-redis-adapter']
  }
  for (const [name, sources] of Object.entries(packages)) {
    const [, section = ''] = text.split(`\n## From ${name}\n`)
    const declarations = (await Promise.all(sources.map(declarationsOf))).join('\n')
    const rows = rowsOf(section.split('\n## ', 1)[0] ?? '', '| there | here |')
    t.ok(rows.length > 5, `${name}: ${rows.length} rows`)
    const cells = rows.map(([cell = '']) => cell.replaceAll(/ \([^)]*\)/g, ''))
    const names = cells.flatMap(cell => [...cell.matchAll(/`\.?([A-Za-z_.]+)[^`]*`/g)].map(([, word = '']) => word))
    t.same(names.flatMap(name => name.split('.')).filter(word => !declarations.includes(word)), [], name)
    const manifest = await readFile(join(ROOT, 'node_modules', name, 'package.json'), 'utf8')
    const { version } = JSON.parse(manifest) as { version: string }
    t.match(text, `\`${name}\` ${version.split('.', 2).join('.')}`, `${name}: the version`)
  }
})

async function declarationsOf (name: string): Promise<string> {
  const dir = join(ROOT, 'node_modules', name)
  const files = (await readdir(dir, { recursive: true })).filter(path => path.endsWith('.d.ts') || path === 'README.md')
  return (await Promise.all(files.map(file => readFile(join(dir, file), 'utf8')))).join('\n')
}
