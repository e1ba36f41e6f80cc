import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'

const TESTS = import.meta.dirname
/**
 * `build` in here uses a store in memory if there is no Redis. Everything else in it is found by its name.
 */
const HELPER = join(TESTS, 'helper.ts')
/** Names in a module that show that it needs a server or starts a process. */
const NEEDS_MORE =
  /\b(?:connectRedis|REDIS_URL|DATABASE_URL)\b|^import (?!type\b).*from '(?:node:child_process|ioredis|pg)'/m
const IMPORT = /(?:^(?:import|export)\b[^']*?|\bimport\()'(\.[^']+\.ts)'/gm

/** The tests of types run no code: `npm run check` runs them. */
const TYPES = /^types[/\\]/

/** All test files that run code, by their paths within the project. */
export function testFiles (): string[] {
  return readdirSync(TESTS, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.test.ts') && !TYPES.test(name))
    .map(name => relative(process.cwd(), join(TESTS, name)))
    .sort()
}

/**
 * The module that needs a server or starts a process, among a test file and the modules that it imports, or `null` if
 * there is none. Without one it is a unit test, which `npm run test:unit` runs.
 */
export function needsMore (testFile: string): string | null {
  const seen = new Set<string>([HELPER])
  const queue = [resolve(testFile)]
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (seen.has(file)) continue
    seen.add(file)
    const source = readFileSync(file, 'utf8')
    if (file.startsWith(`${TESTS}/`) && NEEDS_MORE.test(source)) return relative(process.cwd(), file)
    for (const [, specifier = ''] of source.matchAll(IMPORT)) queue.push(resolve(dirname(file), specifier))
  }
  return null
}
