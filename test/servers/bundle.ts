import { cpSync, mkdtempSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { BuildOptions } from 'esbuild'
import { protect } from './reaper.ts'

const PROJECT = resolve(import.meta.dirname, '../..')

/**
 * A directory for servers that are bundled with all packages into one file each: processes, of which the tests start
 * very many, start in a third of the time.
 */
export function bundleDirectory (): string {
  const directory = mkdtempSync(join(tmpdir(), 'test-bundle-'))
  protect(directory)
  cpSync(join(PROJECT, 'demo-app/db/migrations'), join(directory, 'migrations'), { recursive: true })
  // Of what is left out of the bundle.
  symlinkSync(join(PROJECT, 'node_modules'), join(directory, 'node_modules'))
  return directory
}

/** @param entryPoints paths within the project, by the names of their files in the directory, without `.mjs` */
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
    // The database inside a process reads files beside its own.
    external: ['@electric-sql/*', 'pg-native'],
    // Packages in CommonJS ask for Node.js's own modules by it.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    logLevel: 'silent'
  } satisfies BuildOptions
}
