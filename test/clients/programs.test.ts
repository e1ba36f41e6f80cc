import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { MissingBinaryError, program } from '../servers/binaries.ts'
import type { Machine } from '../servers/binaries.ts'
import { IMPORT_TYPESCRIPT } from '../typescript/import.ts'
import { ownDirectory } from './daemon.ts'

const BARE: Machine = {
  path: '/nowhere',
  givenRedisServer: undefined,
  postgresPlaces: () => [],
  isRoot: false,
  hasApt: true
}

t.test('a program is found by any of the names that it goes by, the first one first', async (t) => {
  const directory = ownDirectory(t, 'programs')
  const machine = { ...BARE, path: ['a', 'b'].map(name => join(directory, name)).join(':') }
  for (const file of ['a/other-name', 'b/a-name']) {
    mkdirSync(join(directory, file, '..'), { recursive: true })
    writeFileSync(join(directory, file), '', { mode: 0o755 })
  }
  t.equal(program(['a-name', 'other-name'], 'a-package', machine), join(directory, 'b/a-name'))
  t.equal(program(['no-name', 'other-name'], 'a-package', machine), join(directory, 'a/other-name'))
  t.throws(() => program(['no-name'], 'a-package', machine), MissingBinaryError)
})

t.test('npm run test:clients says in one line each what is missing, and fails', async (t) => {
  const checking = promisify(execFile)(process.execPath, [IMPORT_TYPESCRIPT, 'test/clients/programs.ts'], {
    env: { PATH: '/nowhere', HOME: ownDirectory(t, 'home') }
  })
  const { code, stderr } = await checking.catch((error: { code: number, stderr: string }) => ({ ...error }))
    .then(result => ({ code: 0, ...result }))
  t.equal(code, 1)
  for (const [name, debianPackage] of [['chromium', 'chromium'], ['go', 'golang-go'], ['curl', 'curl']]) {
    t.match(stderr, new RegExp(`^The tests need ${name}, not found .*: install the package ${debianPackage} .*$`, 'm'))
  }
  t.notMatch(stderr, /^ {4}at /m)
})
