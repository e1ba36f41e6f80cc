import { existsSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import t from 'tap'
import { DOCS_URL } from '../../plugin/options.ts'
import { anchorOf, documented, everyPage, readPage, ROOT } from './markdown.ts'
import type { Page } from './markdown.ts'

const english = await documented()
const pages = new Map<string, Page>()
for (const file of await everyPage()) pages.set(file, await readPage(file))

function anchorsIn ({ headings }: Page): Set<string> {
  return new Set(headings.map(({ text }) => anchorOf(text)))
}

t.test('every link within the documentation leads somewhere', async (t) => {
  for (const [file, { links }] of pages) {
    t.ok(links.length > 0, `${file} has links`)
    for (const { target, line } of links) {
      if (/^https?:/.test(target)) continue
      const [path = '', anchor] = target.split('#')
      const linked = path === '' ? file : relative(ROOT, join(ROOT, dirname(file), path))
      if (!existsSync(join(ROOT, linked))) t.fail(`${file}:${line}: there is no ${linked}`)
      const page = pages.get(linked)
      if (anchor === undefined || page === undefined || anchorsIn(page).has(decodeURIComponent(anchor))) continue
      t.fail(`${file}:${line}: no heading of ${linked} is linked by #${anchor}`)
    }
  }
})

t.test('no two headings of a page are linked by one anchor', async (t) => {
  for (const [file, page] of pages) {
    if (file !== 'CHANGELOG.md') t.equal(anchorsIn(page).size, page.headings.length, file)
  }
})

t.test('a page that begins with its contents names every section', async (t) => {
  for (const file of english) {
    const { links, headings } = pages.get(file) as Page
    const named = links.map(({ target }) => target)
    const [first, ...sections] = headings.filter(({ level }) => level === 2).map(({ text }) => `#${anchorOf(text)}`)
    if (file === 'README.md' || first === undefined || !named.includes(first)) continue
    t.same(sections.filter(section => !named.includes(section)), [], file)
  }
})

t.test('the README names every page, and has the section that problem documents link to', async (t) => {
  const readme = pages.get('README.md') as Page
  const named = readme.links.map(({ target }) => target)
  for (const file of [...pages.keys(), 'LICENSE']) if (file !== 'README.md') t.ok(named.includes(file), file)
  t.ok(anchorsIn(readme).has(new URL(DOCS_URL).hash.slice(1)))
})

t.test('no page names a path or a registry of the machine that it was written on', async (t) => {
  for (const [file, { text }] of pages) {
    const ofAMachine = /(?:^|[\s(`'"])\/(?:work|tmp|home|root)\/|\bregistry\.\w+\.\w/
    t.same(text.split('\n').filter(line => ofAMachine.test(line)), [], file)
  }
})
