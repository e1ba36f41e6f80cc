import { readFile } from 'node:fs/promises'
import { builtinModules } from 'node:module'
import { posix } from 'node:path'
import type { Manifest } from './packed.ts'

/** Follows the imports of an installed package, in code and in types, from what its manifest exports. */
export async function reach (
  root: string,
  { exports }: Pick<Manifest, 'exports'>
): Promise<{ reached: Set<string>, packages: Set<string> }> {
  const reached = new Set<string>()
  const packages = new Set<string>()
  const queue = Object.values(exports)
    .flatMap(target =>
      typeof target === 'string' ? [] : Object.values(target).flatMap(({ types, default: code }) => [types, code])
    )
    .map(path => posix.normalize(path))
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (reached.has(path)) continue
    reached.add(path)
    // The types of a module that is only imported for its types come together with its code, which is empty.
    if (path.endsWith('.d.ts')) queue.push(path.replace(/\.d\.ts$/, '.js'))
    for (const specifier of importsOf(await readFile(posix.join(root, path), 'utf8'))) {
      if (specifier.startsWith('.')) {
        const code = posix.join(posix.dirname(path), specifier).replace(/\.ts$/, '.js')
        queue.push(path.endsWith('.d.ts') ? code.replace(/\.js$/, '.d.ts') : code)
      } else if (!specifier.startsWith('node:') && !builtinModules.includes(specifier)) {
        packages.add(specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/'))
      }
    }
  }
  return { reached, packages }
}

/** Whether a compiled module has no code: it had only types, and nobody imports it for anything else. */
export async function isEmpty (file: string): Promise<boolean> {
  const code = (await readFile(file, 'utf8')).replace(
    /"use strict";|export \{\};|Object\.defineProperty\(exports, "__esModule", \{ value: true \}\);/g,
    ''
  )
  return code.trim() === ''
}

/** This relies on the output of the compiler: a statement stands at the beginning of a line, except within types. */
function importsOf (source: string): string[] {
  const code = source.replace(/\/\*[^]*?\*\//g, '')
  return [
    ...code.matchAll(/(?:^(?:import|export)\b(?:[^'"=;]*\bfrom)?\s*|\brequire\(|\bimport\()['"]([^'"\n]+)['"]/gm)
  ].map(([, specifier = '']) => specifier)
}
