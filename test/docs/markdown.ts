import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PROJECT as ROOT } from '../project.ts'

export { ROOT }

/** A fenced block of code, and what the HTML comment before it tells the tests. */
export interface Block {
  /** The heading that it stands under, with a number from the second one on: how the tests call it. */
  name: string
  file: string
  /** Of its first line of code, from 1. */
  line: number
  /** What follows the opening fence: `ts`, `sh`, or nothing for a drawing. */
  language: string
  code: string
  /** From `<!-- test: given { app } -->`: what it uses and does not declare. */
  given: string
  /** From `<!-- test: in a process of its own -->`. */
  apart: boolean
  /** From `<!-- test: not run, because … -->`. */
  notRunBecause: string | null
}

export interface Page {
  file: string
  text: string
  /** Level and text, in order. */
  headings: Array<{ level: number, text: string }>
  blocks: Block[]
  /** Of each table, the number of columns and of rows. */
  tables: Array<{ columns: number, rows: number }>
  /** Targets of links, images left out, with the line that they stand in. */
  links: Array<{ target: string, line: number }>
}

/** The pages whose code is compiled and run. The Chinese front page has the code of the English one. */
export async function documented (): Promise<string[]> {
  const docs = await readdir(join(ROOT, 'docs'))
  return ['README.md', ...docs.filter(name => name.endsWith('.md')).sort().map(name => `docs/${name}`)]
}

/** All pages of the repository, also those without code that is run. */
export async function everyPage (): Promise<string[]> {
  const names = (await readdir(ROOT)).sort()
  const beside = names.filter(name => name.endsWith('.md') && name !== 'README.md')
  const ofFolders = names.map(name => `${name}/README.md`).filter(file => existsSync(join(ROOT, file)))
  return [...await documented(), ...beside, ...ofFolders]
}

export async function readPage (file: string): Promise<Page> {
  return parse(file, await readFile(join(ROOT, file), 'utf8'))
}

const DIRECTIVE =
  /^<!-- test: (?:given (?<given>\{.*\})|(?<apart>in a process of its own)|not run, because (?<reason>.+)) -->$/

/**
 * @throws {Error} naming file and line of a directive that is none, or that no block follows
 */
export function parse (file: string, text: string): Page {
  const page: Page = { file, text, headings: [], blocks: [], tables: [], links: [] }
  let block: Block | null = null
  let directive: RegExpExecArray | null = null
  let heading = file
  const lines = text.split('\n')
  for (const [index, line] of lines.entries()) {
    const fence = /^```(\S*)$/.exec(line)
    if (block !== null) {
      if (fence === null) block.code += `${line}\n`
      else block = null
      continue
    }
    if (fence !== null) {
      const { given = '', apart, reason = null } = directive?.groups ?? {}
      const count = page.blocks.filter(
        ({ name, language }) => name.replace(/ \d+$/, '') === heading && language === fence[1]
      ).length
      block = {
        name: count === 0 ? heading : `${heading} ${count + 1}`,
        file,
        line: index + 2,
        language: fence[1] ?? '',
        code: '',
        given,
        apart: apart !== undefined,
        notRunBecause: reason
      }
      page.blocks.push(block)
      directive = null
      continue
    }
    if (directive !== null) throw new Error(`${file}:${index}: no block follows "${directive[0]}"`)
    if (line.startsWith('<!-- test:')) {
      directive = DIRECTIVE.exec(line)
      if (directive === null) throw new Error(`${file}:${index + 1}: not a directive: ${line}`)
      continue
    }
    const title = /^(#+) (.+)$/.exec(line)
    if (title !== null) {
      heading = title[2] as string
      page.headings.push({ level: (title[1] as string).length, text: heading })
    }
    if (line.startsWith('|')) {
      if (lines[index - 1]?.startsWith('|') === true) (page.tables.at(-1) as { rows: number }).rows++
      else page.tables.push({ columns: cellsOf(line).length, rows: 1 })
    }
    for (const [, target] of line.replaceAll(/`[^`]*`/g, '').matchAll(/\]\(([^)\s]+)\)/g)) {
      page.links.push({ target: target as string, line: index + 1 })
    }
  }
  return page
}

/** The cells of a row. A pipe with a backslash before it belongs to its cell. */
export function cellsOf (row: string): string[] {
  return row.split(/(?<!\\)\|/).slice(1, -1).map(cell => cell.trim())
}

/** The rows of a table of a page, by the text of its head. */
export function rowsOf (text: string, head: string): string[][] {
  const [, table = ''] = text.split(`\n${head}\n`)
  return table.split('\n\n', 1)[0]?.split('\n').slice(1).map(cellsOf) ?? []
}

/** What a heading is linked by, as GitHub makes it of its text. */
export function anchorOf (heading: string): string {
  return heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\p{M} _-]/gu, '').replaceAll(' ', '-')
}
