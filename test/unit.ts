import { needsMore, testFiles } from './selection.ts'
import { runTogether } from './together.ts'

/*
 * npm run test:unit: the tests that need no server and start no process, with a store in memory where the others have
 * Redis. Many wait most of their time, so there are more at once than processors.
 */
const { REDIS_URL: _redis, DATABASE_URL: _database, ...env } = process.env
const files = testFiles().filter(file => needsMore(file) === null)
process.exitCode = await runTogether(files, {
  args: ['--jobs=8', ...process.argv.slice(2)],
  env: { ...env, TEST_STORE: 'memory' }
})
