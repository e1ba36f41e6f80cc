import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import ts from 'typescript'
import { ROOT } from './markdown.ts'
import type { Block } from './markdown.ts'

/** The number of lines before a block's first line in its module. */
export const LINES_BEFORE = 1

/** The addresses of servers in the pages. The tests replace them by those of their own servers. */
export const REDIS = 'redis://localhost:6379'
export const POSTGRES = 'postgres://localhost/payments'

/** The pages assume that the app has authenticated its user. */
const USER = `import 'fastify'
declare module 'fastify' {
  interface FastifyRequest { user: { id: string, tenant: string } }
}
`

export interface Workspace {
  dir: string
  /** The module that was made of a block. */
  moduleOf (block: Block): string
}

/**
 * Makes a folder in which each block is a module of its own. It is removed when the test ends. `fastify-idempotency` is
 * in its node_modules, with the exports of the real package.json, which lead to the sources.
 * @param servers the addresses of servers in the pages, each with the address that replaces it
 */
export async function workspace (t: Test, blocks: Block[], servers: Record<string, string> = {}): Promise<Workspace> {
  const dir = await mkdtemp(join(tmpdir(), 'fastify-idempotency-docs-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const installed = join(dir, 'blocks', 'node_modules', 'fastify-idempotency')
  await mkdir(installed, { recursive: true })
  await symlink(join(ROOT, 'plugin'), join(installed, 'plugin'))
  await symlink(join(ROOT, 'node_modules'), join(dir, 'node_modules'))
  const manifest = { name: 'fastify-idempotency', type: 'module', exports: await sourceExports() }
  await write(join(installed, 'package.json'), manifest)
  await write(join(dir, 'package.json'), { type: 'module' })
  await write(join(dir, 'tsconfig.json'), {
    extends: join(ROOT, 'tsconfig.json'),
    // The compiler emits nothing here, and given.ts is imported by its absolute path.
    compilerOptions: { rewriteRelativeImportExtensions: false },
    include: ['blocks/*.ts']
  })
  await writeFile(join(dir, 'blocks', 'user.d.ts'), USER)
  const moduleOf = (block: Block): string => {
    return join(dir, 'blocks', `${titleOf(block).replaceAll(/[^\p{L}\p{N}]+/gu, '-')}.ts`)
  }
  for (const block of blocks) await writeFile(moduleOf(block), sourceOf(block, servers))
  return { dir, moduleOf }
}

/** The page and the name of a block. */
export function titleOf ({ file, name }: Block): string {
  return `${file}: ${name}`
}

/** The source of a module: what is given to the block, the block, and an export of all that it declares. */
function sourceOf (block: Block, servers: Record<string, string>): string {
  let { code } = block
  for (const [documented, real] of Object.entries(servers)) code = code.replaceAll(documented, real)
  const taken = `const ${block.given} = taken(${JSON.stringify(titleOf(block))})`
  const before = block.given === '' ? '' : `import { taken } from '${join(ROOT, 'test/docs/given.ts')}'; ${taken}`
  return `${before}\n${code}\nexport { ${declaredBy(code).join(', ')} }\n`
}

/** The names of the values that a module declares at its top level. */
function declaredBy (code: string): string[] {
  const names: string[] = []
  const add = (name: ts.BindingName): void => {
    if (ts.isIdentifier(name)) names.push(name.text)
    else for (const element of name.elements) if (ts.isBindingElement(element)) add(element.name)
  }
  for (const statement of ts.createSourceFile('block.ts', code, ts.ScriptTarget.Latest).statements) {
    if (ts.isVariableStatement(statement)) for (const { name } of statement.declarationList.declarations) add(name)
    const isNamed = ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement)
    if (isNamed && statement.name !== undefined) add(statement.name)
  }
  return names
}

/** The names in `given.ts` of what a block is given: `protectedApp` and `pay` for `{ protectedApp: app, pay }`. */
export function givenNames ({ given }: Block): string[] {
  const names = given.replaceAll(/[{}\s]/g, '').split(',').filter(name => name !== '')
  return names.map(name => name.split(':', 1)[0] as string)
}

/** The exports of the package, each with the source file that it is built from. */
async function sourceExports (): Promise<Record<string, string>> {
  type Exports = Record<string, string | { import: { default: string } }>
  const { exports } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { exports: Exports }
  return Object.fromEntries(Object.entries(exports).flatMap(([path, target]) => typeof target === 'string'
    ? []
    : [[path, target.import.default.replace('./dist/esm/', './plugin/').replace(/\.js$/, '.ts')]]))
}

function write (file: string, content: object): Promise<void> {
  return writeFile(file, JSON.stringify(content))
}
