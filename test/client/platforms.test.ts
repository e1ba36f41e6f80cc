import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import type { Test } from 'tap'
import { PROJECT as ROOT } from '../project.ts'

const run = promisify(execFile)
/** The one that is quick. Not its command, which tap does not let a test start. */
const TSC = join(ROOT, 'node_modules/typescript-7/lib/tsc.js')

/** What a built module imports, directly and indirectly: files, and names of packages. */
async function importsOf (file: string, found = new Set<string>()): Promise<Set<string>> {
  if (found.has(file)) return found
  found.add(file)
  const source = await readFile(file, 'utf8')
  for (const [, name = ''] of source.matchAll(/^(?:import|export) [^'"\n]*?from ['"]([^'"]+)['"]/gm)) {
    if (name.startsWith('.')) await importsOf(resolve(dirname(file), name), found)
    else found.add(name)
  }
  return found
}

/** The complaints of the type checker about a file with these options, or `null`. */
async function complaints (dir: string, file: string, compilerOptions: object, base?: string): Promise<string | null> {
  const config = join(dir, `tsconfig.${basename(file)}.json`)
  await writeFile(
    config,
    JSON.stringify({
      ...(base !== undefined && { extends: base }),
      compilerOptions: { noEmit: true, ...compilerOptions },
      files: [file],
      include: []
    })
  )
  return run(process.execPath, [TSC, '-p', config]).then(() => null, (error: { stdout: string }) => error.stdout)
}

/** Only the client is built: another test covers the whole build. */
async function build (t: Test, module: 'esm' | 'cjs'): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'fastify-idempotency-client-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const config = module === 'esm' ? 'tsconfig.build.json' : 'tsconfig.build.cjs.json'
  const files = ['index.ts', 'undici.ts'].map(file => join(ROOT, 'plugin/client', file))
  await writeFile(join(dir, 'tsconfig.json'), JSON.stringify({
    extends: join(ROOT, config),
    compilerOptions: { rootDir: join(ROOT, 'plugin'), outDir: dir, typeRoots: [join(ROOT, 'node_modules/@types')] },
    files,
    include: []
  }))
  await run(process.execPath, [TSC, '-p', dir])
  await writeFile(join(dir, 'package.json'), JSON.stringify({ type: module === 'esm' ? 'module' : 'commonjs' }))
  return dir
}

const USE = `
const pay: (order: string, key?: string) => Promise<string> = async (order, idempotencyKey = makeKey()) => {
  try {
    const send = idempotentFetch({ totalTimeout: 60_000 })
    const response = await send(order, { method: 'POST', body: '{}', idempotencyKey, credentials: 'include' })
    const { key, tries, replayed } = response.idempotency
    return \`\${key?.length} \${tries.toFixed()} \${replayed === true} \${await response.text()}\`
  } catch (error) {
    if (error instanceof RetryTimeoutError && error.outcomeUnknown) return pay(order, error.key ?? undefined)
    throw error
  }
}
// Wherever a fetch can go, this one can.
export const drop: typeof fetch = idempotentFetch()
// @ts-expect-error milliseconds are numbers
idempotentFetch({ tryTimeout: '1s' })
// @ts-expect-error there is no such option
idempotentFetch({ retries: 3 })
`

t.test('the built client is typed and works', async (t) => {
  const dir = await build(t, 'esm')

  t.test('it imports nothing but its own files: no package, nothing of Node.js', async (t) => {
    for (const entry of ['index.js', 'undici.js']) {
      const imports = [...await importsOf(join(dir, 'client', entry))].map(file => relative(dir, file))
      t.ok(imports.length > 5, `${entry}: ${imports.length} files`)
      t.same(imports.filter(file => !/^(client|shared)\/[\w-]+\.js$/.test(file)), [])
    }
  })

  t.test('its source uses nothing that browsers do not have', async (t) => {
    const source = join(ROOT, 'plugin/client/index.ts')
    t.equal(await complaints(dir, source, { lib: ['es2023', 'dom'], types: [] }, join(ROOT, 'tsconfig.json')), null)
  })

  t.test('in a browser’s project, which knows the DOM and not Node.js', async (t) => {
    await writeFile(
      join(dir, 'browser.ts'),
      `import { idempotentFetch, makeKey, RetryTimeoutError } from './client/index.js'\n${USE}` +
        "document.title = await pay('/orders/1/pay')\n// @ts-expect-error this is no Node.js\nprocess.exit()\n"
    )
    t.equal(
      await complaints(dir, 'browser.ts', {
        strict: true,
        exactOptionalPropertyTypes: true,
        skipLibCheck: false,
        module: 'es2022',
        moduleResolution: 'bundler',
        target: 'es2022',
        lib: ['es2022', 'dom'],
        types: []
      }),
      null
    )
  })

  t.test('in a project of Node.js', async (t) => {
    await writeFile(
      join(dir, 'node.ts'),
      `import { idempotentFetch, makeKey, RetryTimeoutError } from './client/index.js'\n${USE}` +
        "process.title = await pay('http://localhost/orders/1/pay')\n" +
        '// @ts-expect-error this is no browser\ndocument.title\n'
    )
    t.equal(
      await complaints(dir, 'node.ts', {
        strict: true,
        skipLibCheck: false,
        module: 'nodenext',
        target: 'es2023',
        lib: ['es2023'],
        types: ['node'],
        typeRoots: [join(ROOT, 'node_modules/@types')]
      }),
      null
    )
  })

  t.test('as ESM', async (t) => {
    await writeFile(
      join(dir, 'use.js'),
      "import * as client from './client/index.js'\nimport { idempotent } from './client/undici.js'\n" +
        'console.log(Object.keys(client).join(), typeof idempotent())'
    )
    const { stdout } = await run(process.execPath, ['use.js'], { cwd: dir })
    t.equal(
      stdout.trim(),
      'IdempotencyOptionError,RequestFailedError,RetryTimeoutError,idempotentFetch,makeKey function'
    )
  })

  t.test('as CommonJS', async (t) => {
    const dir = await build(t, 'cjs')
    await writeFile(
      join(dir, 'use.js'),
      "const client = require('./client/index.js')\nconst { idempotent } = require('./client/undici.js')\n" +
        'console.log(Object.keys(client).sort().join(), typeof idempotent())'
    )
    const { stdout } = await run(process.execPath, ['use.js'], { cwd: dir })
    t.equal(
      stdout.trim(),
      'IdempotencyOptionError,RequestFailedError,RetryTimeoutError,idempotentFetch,makeKey function'
    )
  })
})
