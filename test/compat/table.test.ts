import { readdir, readFile } from 'node:fs/promises'
import t from 'tap'
import { ROWS, table } from './table.ts'

/** Tests in this folder that are not about one plugin. */
const OTHERS = ['table', 'together']

async function read (name: string): Promise<string> {
  return readFile(new URL(`../../${name}`, import.meta.url), 'utf8')
}

t.test('the table of Fastify plugins in docs/compatibility.md is the one that the tests stand for', async (t) => {
  const { devDependencies } = JSON.parse(await read('package.json')) as { devDependencies: Record<string, string> }
  const sections = (await read('docs/compatibility.md')).split(/^## /m)
  const section = sections.find(section => section.startsWith('Fastify plugins\n')) ?? ''
  const lines = section.split('\n').filter(line => line.startsWith('|'))
  t.equal(lines.join('\n'), table(devDependencies))
})

t.test('each plugin in the table has a test file, and each test file its row', async (t) => {
  const files = await readdir(new URL('.', import.meta.url))
  const tested = files
    .flatMap(file => (file.endsWith('.test.ts') ? [file.slice(0, -'.test.ts'.length)] : []))
    .filter(name => !OTHERS.includes(name))
  t.same(ROWS.map(({ name }) => name).sort(), tested.sort())
})

t.test('each plugin in the table is one that its test file imports', async (t) => {
  for (const { name } of ROWS) t.match(await read(`test/compat/${name}.test.ts`), `from '@fastify/${name}'`, name)
})
