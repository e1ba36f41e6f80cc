import { needsMore, testFiles } from './selection.ts'
import { runTogether } from './together.ts'

/*
 * npm run test:unit: the tests that need no server and start no process. They use a store in memory in place of Redis.
 * Many wait most of their time, so more of them run at once than there are processors.
 */
const { REDIS_URL: _redis, DATABASE_URL: _database, ...env } = process.env
const files = testFiles().filter(file => needsMore(file) === null)
process.exitCode = await runTogether(files, {
  args: ['--jobs=8', ...process.argv.slice(2)],
  env: { ...env, TEST_STORE: 'memory' }
})
