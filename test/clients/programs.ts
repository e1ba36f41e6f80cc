import { MissingBinaryError, program } from '../servers/binaries.ts'

/** What the tests of real clients and proxies run, by the names that it goes by and the package that brings it. */
const PROGRAMS: Record<Program, [[string, ...string[]], string]> = {
  chromium: [['chromium', 'chromium-browser', 'google-chrome'], 'chromium'],
  curl: [['curl'], 'curl'],
  go: [['go'], 'golang-go'],
  haproxy: [['haproxy'], 'haproxy'],
  lighttpd: [['lighttpd'], 'lighttpd'],
  'nats-server': [['nats-server'], 'nats-server'],
  nginx: [['nginx'], 'nginx']
}

export type Program = 'chromium' | 'curl' | 'go' | 'haproxy' | 'lighttpd' | 'nats-server' | 'nginx'

/**
 * Its path. It is installed if it is not there, where that is possible.
 * @throws {MissingBinaryError}
 */
export function pathOf (name: Program): string {
  const [names, debianPackage] = PROGRAMS[name]
  return program(names, debianPackage)
}

/** Sees that all of them are there before any test begins. Says in one line each what is missing, and then fails. */
if (process.argv[1] === import.meta.filename) {
  for (const name of Object.keys(PROGRAMS) as Program[]) {
    try {
      pathOf(name)
    } catch (error) {
      if (!(error instanceof MissingBinaryError)) throw error
      process.stderr.write(`${error.message}\n`)
      process.exitCode = 1
    }
  }
}
