import t from 'tap'
import { readPage } from './markdown.ts'
import type { Page } from './markdown.ts'

const english = await readPage('README.md')
const chinese = await readPage('README.zh-CN.md')

/** All links but those to headings of the page, which have other names in each language. */
function outwards ({ links }: Page): string[] {
  const targets = links.map(({ target }) => target)
  return targets.filter(target => !target.startsWith('#') && !target.startsWith('README')).sort()
}

function codeIn (row: string): string[] {
  return [...row.matchAll(/`([^`]+)`/g)].map(([, code]) => code as string).sort()
}

t.test('the Chinese front page has the sections of the English one', async (t) => {
  t.same(chinese.headings.map(({ level }) => level), english.headings.map(({ level }) => level))
  t.ok(chinese.headings.slice(1).every(({ text }) => /\p{Script=Han}/u.test(text)), 'all of them in Chinese')
})

t.test('it has the same code, letter by letter', async (t) => {
  const code = ({ blocks }: Page): object[] => blocks.map(({ language, code }) => ({ language, code }))
  t.same(code(chinese), code(english))
})

t.test('it has the same tables, row by row', async (t) => {
  t.same(chinese.tables, english.tables)
})

t.test('each row of a table has the same code in both: names, defaults, refusals', async (t) => {
  const rows = chinese.text.split('\n').filter(line => line.startsWith('|'))
  for (const [index, row] of english.text.split('\n').filter(line => line.startsWith('|')).entries()) {
    t.same(codeIn(rows[index] ?? ''), codeIn(row), row.slice(0, 60))
  }
})

t.test('it links to the same files and pages', async (t) => {
  t.same(outwards(chinese), outwards(english))
})

t.test('each of the two names the other', async (t) => {
  t.ok(english.links.some(({ target }) => target === 'README.zh-CN.md'))
  t.ok(chinese.links.some(({ target }) => target === 'README.md'))
})
