import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import ts from 'typescript'
import { ROOT } from './markdown.ts'
import type { Block } from './markdown.ts'

/** What stands before a block's first line in its module. */
export const LINES_BEFORE = 1

/** What the pages call servers that the tests have elsewhere. */
export const REDIS = 'redis://localhost:6379'
export const POSTGRES = 'postgres://localhost/payments'

/** What pages take for granted of an app: that it has authenticated its user. */
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
 * A folder, gone when the test ends, in which each block is a module of its own. `fastify-idempotency` is there as it
 * would be installed, with the exports of its package.json, which lead to the sources.
 * @param servers where the servers are that the pages have their own addresses for
 */
export async function workspace (t: Test, blocks: Block[], servers: Record<string, string> = {}): Promise<Workspace> {
  const dir = await mkdtemp(join(tmpdir(), 'fastify-idempotency-docs-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const installed = join(dir, 'blocks', 'node_modules', 'fastify-idempotency')
  await mkdir(installed, { recursive: true })
  await symlink(join(ROOT, 'plugin'), join(installed, 'plugin'))
  await symlink(join(ROOT, 'node_modules'), join(dir, 'node_modules'))
  await write(join(installed, 'package.json'), { name: 'fastify-idempotency', type: 'module', exports: await sourceExports() })
  await write(join(dir, 'package.json'), { type: 'module' })
  await write(join(dir, 'tsconfig.json'), {
    extends: join(ROOT, 'tsconfig.json'),
    // Nothing is emitted, and what is given is imported by its absolute path.
    compilerOptions: { rewriteRelativeImportExtensions: false },
    include: ['blocks/*.ts']
  })
  await writeFile(join(dir, 'blocks', 'user.d.ts'), USER)
  const moduleOf = (block: Block): string => join(dir, 'blocks', `${titleOf(block).replaceAll(/[^\p{L}\p{N}]+/gu, '-')}.ts`)
  for (const block of blocks) await writeFile(moduleOf(block), sourceOf(block, servers))
  return { dir, moduleOf }
}

/** Which block of which page. */
export function titleOf ({ file, name }: Block): string {
  return `${file}: ${name}`
}

/** A module: what is given to the block, the block, and exports of all that it declares. */
function sourceOf (block: Block, servers: Record<string, string>): string {
  let { code } = block
  for (const [documented, real] of Object.entries(servers)) code = code.replaceAll(documented, real)
  const before = block.given === ''
    ? ''
    : `import { taken } from '${join(ROOT, 'test/docs/given.ts')}'; const ${block.given} = taken(${JSON.stringify(titleOf(block))})`
  return `${before}\n${code}\nexport { ${declaredBy(code).join(', ')} }\n`
}

/** The names that stand for values at the top of a module. */
function declaredBy (code: string): string[] {
  const names: string[] = []
  const add = (name: ts.BindingName): void => {
    if (ts.isIdentifier(name)) names.push(name.text)
    else for (const element of name.elements) if (ts.isBindingElement(element)) add(element.name)
  }
  for (const statement of ts.createSourceFile('block.ts', code, ts.ScriptTarget.Latest).statements) {
    if (ts.isVariableStatement(statement)) for (const { name } of statement.declarationList.declarations) add(name)
    else if ((ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement)) && statement.name !== undefined) add(statement.name)
  }
  return names
}

/** The names that a block is given, as `given.ts` has them: `{ protectedApp: app, pay }` takes `protectedApp` and `pay`. */
export function givenNames ({ given }: Block): string[] {
  return given.replaceAll(/[{}\s]/g, '').split(',').flatMap(name => name === '' ? [] : [name.split(':', 1)[0] as string])
}

/** The exports of the package, each as the source that it is built from. */
async function sourceExports (): Promise<Record<string, string>> {
  const { exports } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { exports: Record<string, string | { import: { default: string } }> }
  return Object.fromEntries(Object.entries(exports).flatMap(([path, target]) => typeof target === 'string'
    ? []
    : [[path, target.import.default.replace('./dist/esm/', './plugin/').replace(/\.js$/, '.ts')]]))
}

function write (file: string, content: object): Promise<void> {
  return writeFile(file, JSON.stringify(content))
}
