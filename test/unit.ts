import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { needsMore, testFiles } from './selection.ts'

/*
 * npm run test:unit: the tests that need no server and start no process, with a store in memory where the others have
 * Redis. Many wait most of their time, so there are more at once than processors.
 */
const files = testFiles().filter(file => needsMore(file) === null)
const { REDIS_URL: _redis, DATABASE_URL: _database, ...env } = process.env
const tap = spawn('tap', ['--jobs=8', ...process.argv.slice(2), ...files], { stdio: 'inherit', env: { ...env, TEST_STORE: 'memory' } })
const [code] = await once(tap, 'exit') as [number | null]
process.exitCode = code ?? 1
