import type { Test } from 'tap'
import { createDatabase, query, until } from '../demo/helper.ts'

const OTHERS = 'SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()'

/**
 * A database of the test's own, dropped when all have left it: a pool says that it has ended before its connections
 * have, and one that is thrown out meanwhile reports an error which nobody listens for any more.
 */
export async function ownDatabase (t: Test): Promise<string> {
  const url = await createDatabase(t)
  t.teardown(() => until(async () => (await query(url, OTHERS)).length === 0, 'the end of all connections'))
  return url
}
