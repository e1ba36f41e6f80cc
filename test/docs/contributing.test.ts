import { readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import { everyPage, readPage, ROOT } from './markdown.ts'

const manifest = await readFile(join(ROOT, 'package.json'), 'utf8')
const { scripts } = JSON.parse(manifest) as { scripts: Record<string, string> }
/** npm runs them by itself, before or after others. */
const BY_NPM = ['prepare', 'prepack', 'postbuild']

t.test('every npm script that a page names exists', async (t) => {
  for (const { file, text } of await Promise.all((await everyPage()).map(readPage))) {
    const named = [...text.matchAll(/\bnpm run ([a-z][\w:-]*)/g)].map(([, name = '']) => name)
    t.same(named.filter(name => scripts[name] === undefined), [], file)
  }
})

t.test('CONTRIBUTING.md names every npm script that somebody runs', async (t) => {
  const { text } = await readPage('CONTRIBUTING.md')
  for (const name of Object.keys(scripts).filter(name => !BY_NPM.includes(name))) {
    const command = name === 'start' || name === 'test' ? `npm ${name}` : `npm run ${name}`
    t.match(text, new RegExp(`\`${command}[ \`]`), name)
  }
})

t.test('test/README.md maps every test file, alone or by its directory, and explains every helper', async (t) => {
  const { links, text } = await readPage('test/README.md')
  const lines = text.split('\n')
  const inMap = links.filter(({ line }) => lines[line - 1]?.startsWith('|')).map(({ target }) => target)
  const explained = links.map(({ target }) => target)
  const files = (await readdir(join(ROOT, 'test'), { recursive: true })).filter(name => name.endsWith('.ts')).sort()
  const isTest = (file: string): boolean => /\.(?:test|tst|clients)\.ts$/.test(file)
  t.same(files.filter(isTest).filter(file => !inMap.includes(file) && !inMap.includes(dirname(file))), [])
  t.same(files.filter(file => !isTest(file) && !explained.includes(file) && !explained.includes(dirname(file))), [])
})
