import { cpSync, mkdtempSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BuildOptions } from 'esbuild'
import { PROJECT } from '../project.ts'
import { protect } from './reaper.ts'

/**
 * A directory for servers that are each bundled with all packages into one file. The tests start very many processes,
 * and a bundled server starts in a third of the time.
 */
export function bundleDirectory (): string {
  const directory = mkdtempSync(join(tmpdir(), 'test-bundle-'))
  protect(directory)
  cpSync(join(PROJECT, 'demo-app/db/migrations'), join(directory, 'migrations'), { recursive: true })
  // For the packages that the bundle leaves out.
  symlinkSync(join(PROJECT, 'node_modules'), join(directory, 'node_modules'))
  return directory
}

/** @param entryPoints the source of each bundle, relative to the project, by the name of the bundle without `.mjs` */
export function bundleOptions (directory: string, entryPoints: Record<string, string>) {
  return {
    absWorkingDir: PROJECT,
    entryPoints,
    outdir: directory,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'es2023',
    keepNames: true,
    // PGlite reads files that lie beside its own.
    external: ['@electric-sql/*', 'pg-native'],
    // Packages in CommonJS load the modules of Node.js with `require`.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    logLevel: 'silent'
  } satisfies BuildOptions
}
