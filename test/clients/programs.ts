import { MissingBinaryError, program } from '../servers/binaries.ts'

/** The programs that the tests of real clients and proxies run, by command and by the package that installs it. */
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
 * The path of the program. It is installed if it is missing, where that is possible.
 * @throws {MissingBinaryError}
 */
export function pathOf (name: Program): string {
  const [names, debianPackage] = PROGRAMS[name]
  return program(names, debianPackage)
}

/**
 * Checks that all programs are there before any test begins. Prints one line for each that is missing, and then fails.
 */
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
