import t from 'tap'
import { anchorOf, parse } from './markdown.ts'

const FENCE = '```'

t.test('a block is called as its heading is, and knows its line and what it is given', async (t) => {
  const { blocks } = parse(
    'a.md',
    `# A\n\n<!-- test: given { app: x } -->\n${FENCE}ts\none\n${FENCE}\n\n${FENCE}ts\ntwo\n${FENCE}\n`
  )
  t.match(blocks, [
    { name: 'A', line: 5, code: 'one\n', given: '{ app: x }', apart: false, notRunBecause: null },
    { name: 'A 2', line: 9, code: 'two\n', given: '' }
  ])
})

t.test('what stands in code is neither heading, table nor link', async (t) => {
  const { headings, tables, links } = parse(
    'a.md',
    `# A\n\n${FENCE}\n# B\n| c |\n[d](e)\n${FENCE}\n\n\`[f](g)\` [h](i#j)\n`
  )
  t.same(headings, [{ level: 1, text: 'A' }])
  t.same(tables, [])
  t.same(links, [{ target: 'i#j', line: 9 }])
})

t.test('a table has columns and rows, and a pipe with a backslash is none of its lines', async (t) => {
  t.same(parse('a.md', '| a | b |\n| --- | --- |\n| `x \\| y` | z |\n\n| c |\n| --- |\n').tables, [
    { columns: 2, rows: 3 },
    { columns: 1, rows: 2 }
  ])
})

t.test('a directive that nobody understands, or that no block follows, is an error that says where', async (t) => {
  t.throws(() => parse('a.md', '\n<!-- test: not run -->\n'), {
    message: 'a.md:2: not a directive: <!-- test: not run -->'
  })
  t.throws(() => parse('a.md', '<!-- test: given { app } -->\n\ntext\n'), /a\.md:1: no block follows/)
})

t.test('headings are linked by their letters, in any script', async (t) => {
  t.equal(anchorOf('Why is `scope` required?'), 'why-is-scope-required')
  t.equal(anchorOf('From @node-idempotency/core'), 'from-node-idempotencycore')
  t.equal(anchorOf('比 Redis 更持久的答案'), '比-redis-更持久的答案')
})
