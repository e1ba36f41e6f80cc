import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { build as bundle } from 'esbuild'
import { protect } from '../servers/reaper.ts'

const PROJECT = resolve(import.meta.dirname, '../..')

/** What the processes of a run start, by the name that it has in their directory. */
const ENTRIES = { app: 'demo-app/server.ts', gateway: 'demo-app/gateway/server.ts' }

/** A change of one place in one file, which breaks what a promise rests on. */
export interface Patch {
  file: string
  /** Must be there exactly once. */
  replace: string
  by: string
}

/** The suite's own routes beside the demo's. */
const WITH_WORK: Patch = {
  file: 'demo-app/app.ts',
  replace: '  await app.register(notifyRoute, { provider })\n',
  by: `  await app.register(notifyRoute, { provider })
  await app.register((await import('../test/chaos/work-route.ts')).workRoutes)
`
}

export interface Build {
  /** Holds `app.mjs` and `gateway.mjs`. */
  directory: string
  remove (): void
}

/**
 * The demo app and the provider, each with the plugin, the preload and all packages in one file: processes, of which a
 * run starts very many, start in a third of the time, and whoever edits the project while a run goes on does not change
 * what is tested.
 * @throws if what a patch replaces is not there, or not once
 */
export async function build (patches: Patch[] = []): Promise<Build> {
  const sources = patched([WITH_WORK, ...patches])
  const unused = new Set(sources.keys())
  const directory = mkdtempSync(join(tmpdir(), 'test-chaos-'))
  protect(directory)
  const remove = (): void => { rmSync(directory, { recursive: true, force: true }) }
  try {
    await bundle({
      absWorkingDir: PROJECT,
      entryPoints: ENTRIES,
      inject: ['test/chaos/preload.ts'],
      outdir: directory,
      outExtension: { '.js': '.mjs' },
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'es2023',
      keepNames: true,
      // The database inside a process: it reads files beside its own, and no app of a run starts it.
      external: ['@electric-sql/*', 'pg-native'],
      // Packages in CommonJS ask for Node.js's own modules by it.
      banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
      logLevel: 'silent',
      plugins: [{
        name: 'patches',
        setup ({ onLoad }) {
          onLoad({ filter: /\.ts$/ }, ({ path }) => {
            const contents = sources.get(path)
            if (contents === undefined) return null
            unused.delete(path)
            return { contents, loader: 'ts' }
          })
        }
      }]
    })
    for (const path of unused) throw new Error(`${path} is patched, and in no process of a run`)
    cpSync(join(PROJECT, 'demo-app/db/migrations'), join(directory, 'migrations'), { recursive: true })
    symlinkSync(join(PROJECT, 'node_modules'), join(directory, 'node_modules'))
    return { directory, remove }
  } catch (error) {
    remove()
    throw error
  }
}

/** The changed files, by their absolute paths. */
function patched (patches: Patch[]): Map<string, string> {
  const sources = new Map<string, string>()
  for (const { file, replace, by } of patches) {
    const path = join(PROJECT, file)
    const source = sources.get(path) ?? readFileSync(path, 'utf8')
    const times = source.split(replace).length - 1
    if (times !== 1) throw new Error(`${file} has ${times} places to patch, not one: ${replace}`)
    sources.set(path, source.replace(replace, () => by))
  }
  return sources
}
