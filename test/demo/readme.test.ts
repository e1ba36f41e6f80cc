import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { readConfig } from '../../demo-app/config.ts'
import { SANDBOX_API_KEY } from '../../sandbox-provider/settings.ts'
import { readPage, ROOT, rowsOf } from '../docs/markdown.ts'

const { text, links } = await readPage('demo-app/README.md')

type Variables = Record<string, string>

function readDemo (file: string): Promise<string> {
  return readFile(join(ROOT, 'demo-app', file), 'utf8')
}

/** The variables that a program reads, each with its default. The default is empty if there is none. */
async function variablesOf (file: string): Promise<Variables> {
  const source = await readFile(join(ROOT, file), 'utf8')
  const reads = [...source.matchAll(/\bread(?:<[^>]+>)?\('(\w+)', ([^,]+),/g)]
  return Object.fromEntries(reads.map(([, name = '', byDefault = '']) => [name, valueOf(byDefault)]))
}

function valueOf (source: string): string {
  if (source === 'null' || source === 'undefined') return ''
  return source === 'SANDBOX_API_KEY' ? SANDBOX_API_KEY : source.replaceAll(/['_]/g, '')
}

/** The variables of a table. A default in code style is a value; a default in words is none. */
function documentedIn (head: string): Variables {
  return Object.fromEntries(rowsOf(text, head).map(([name = '', byDefault = '']) =>
    [name.replaceAll('`', ''), /^`([^`]+)`$/.exec(byDefault)?.[1] ?? '']))
}

t.test('the table of settings has every variable that the service reads, with its default', async (t) => {
  t.same(documentedIn('| variable | default | meaning |'), await variablesOf('demo-app/config.ts'))
})

t.test('so has the table of the sandbox provider', async (t) => {
  const documented = documentedIn('| variable of `npm run sandbox-provider` | default | meaning |')
  t.same(documented, await variablesOf('sandbox-provider/settings.ts'))
})

t.test('.env.example has every variable with its default, and changes nothing', async (t) => {
  const lines = (await readDemo('.env.example')).split('\n')
  t.same(lines.filter(line => line !== '' && !line.startsWith('#')), [], 'all of it is commented out')
  const variables: Variables = {}
  for (const line of lines) {
    const [, name, value = ''] = /^#([A-Z_]+)=(.*)$/.exec(line) ?? []
    if (name !== undefined) variables[name] = value
  }
  t.same(variables, await variablesOf('demo-app/config.ts'))
  t.strictSame(readConfig(variables), readConfig({}))
})

t.test('the table of routes has every route of the service', async (t) => {
  const files = await readdir(join(ROOT, 'demo-app/routes'))
  const sources = (await Promise.all(files.map(file => readDemo(`routes/${file}`)))).join('\n')
  const declared = [...sources.matchAll(/\bapp\.(get|post|put|patch|delete)\('([^']+)'/g)]
    .map(([, method = '', path = '']) => `\`${method.toUpperCase()} ${path}\``)
  const rows = rowsOf(text, '| route | token | idempotency key | what it does |')
  t.same(rows.map(([route]) => route).sort(), declared.sort())
})

t.test('the page says what is in every file and directory of the service', async (t) => {
  const named = links.map(({ target }) => target)
  const files = (await readdir(join(ROOT, 'demo-app'))).filter(name => name !== 'README.md')
  t.same(files.filter(name => !named.includes(name)), [])
})
