import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { PROJECT } from '../project.ts'

const HEADING = 'When something dies'

/** The rows of the table under the heading, without its head. */
function matrix (page: string): string[][] {
  const [, section = ''] = page.split(new RegExp(`^#+ ${HEADING}$`, 'm'))
  const rows = section.split(/^#+ /m, 1)[0]?.split('\n').filter(line => line.startsWith('|')) ?? []
  return rows.slice(2).map(row => row.split('|').slice(1, -1).map(cell => cell.trim()))
}

t.test('every case of the failure matrix in docs/failures.md names a test that exists', async (t) => {
  const rows = matrix(readFileSync(join(PROJECT, 'docs/failures.md'), 'utf8'))
  t.ok(rows.length >= 20, `${rows.length} cases`)
  for (const cells of rows) {
    const [what = '', client = '', database = '', test = ''] = cells
    t.equal(cells.length, 4, what)
    t.ok(client !== '' && database !== '', `${what}: says what the client sees and what the database holds`)
    const [, file, name] = /^`(test\/[\w/-]+\.test\.ts)`: (.+)$/.exec(test) ?? []
    if (file === undefined || name === undefined) {
      t.fail(`${what}: names no test: ${test}`)
      continue
    }
    // A name that is too long for a line is put together from parts, with a plus sign between them.
    const source = readFileSync(join(PROJECT, file), 'utf8').replaceAll(/' \+\n\s*'/g, '')
    t.ok(source.includes(`'${name}'`), `${file}: ${name}`)
  }
})
