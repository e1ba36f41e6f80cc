/** The benchmark measures what users run: the build (`npm run build`), not the sources through a loader. */
const dist = new URL('../../dist/esm/', import.meta.url)

export const built = await import(new URL('index.js', dist).href) as typeof import('../../plugin/index.ts')
export const builtJournal =
  await import(new URL('journal/postgres.js', dist).href) as typeof import('../../plugin/journal/postgres.ts')
const { checkPluginOptions } =
  await import(new URL('options.js', dist).href) as typeof import('../../plugin/options.ts')

/** Whether the build has this option. */
export function knowsOption (name: string): boolean {
  try {
    checkPluginOptions({ scope: 'global', store: new built.MemoryStore(), [name]: false })
    return true
  } catch {
    return false
  }
}
