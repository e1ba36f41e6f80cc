import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build as bundle } from 'esbuild'
import { PROJECT } from '../project.ts'
import { bundleDirectory, bundleOptions } from '../servers/bundle.ts'

/** Loaded into each process of a run before all else. */
const INJECTED = ['test/chaos/preload.ts']

/** A change of one place in one file. It breaks what a promise rests on. */
export interface Patch {
  file: string
  /** The text must occur exactly once. */
  replace: string
  by: string
}

/** The suite's own routes beside those of the demo. */
const WITH_WORK: Patch = {
  file: 'demo-app/app.ts',
  replace: '  await app.register(notifyRoute, { provider })\n',
  by: `  await app.register(notifyRoute, { provider })
  await app.register((await import('../test/chaos/work-route.ts')).workRoutes)
`
}

export interface Build {
  /** Holds `app.mjs` and `sandbox-provider.mjs`. */
  directory: string
  remove (): void
}

/**
 * The demo app and the provider, each with the plugin and the preload: whoever edits the project while a run goes on
 * does not change what is tested.
 * @throws if what a patch replaces is not there, or not once
 */
export async function build (patches: Patch[] = []): Promise<Build> {
  const sources = patched([WITH_WORK, ...patches])
  const unused = new Set(sources.keys())
  const directory = bundleDirectory()
  const remove = (): void => { rmSync(directory, { recursive: true, force: true }) }
  try {
    await bundle({
      ...bundleOptions(directory, { app: 'demo-app/server.ts' }),
      inject: INJECTED,
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
    writeFileSync(join(directory, 'sandbox-provider.mjs'), await bundledSandboxProvider())
    if (unused.size > 0) throw new Error(`patched, and in no app of a run: ${[...unused].join(', ')}`)
    return { directory, remove }
  } catch (error) {
    remove()
    throw error
  }
}

let sandboxProvider: Promise<Uint8Array> | undefined

/** Made once for all runs of this process: no patch changes it. */
function bundledSandboxProvider (): Promise<Uint8Array> {
  const options = bundleOptions(PROJECT, { sandbox: 'sandbox-provider/server.ts' })
  sandboxProvider ??= bundle({ ...options, inject: INJECTED, write: false })
    .then(({ outputFiles: [file] }) => file?.contents ?? new Uint8Array())
  return sandboxProvider
}

/** The changed files, by absolute path. */
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
