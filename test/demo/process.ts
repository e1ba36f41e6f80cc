import type { Test } from 'tap'
import { startProcess } from '../servers/process.ts'
import type { ServerProcess } from '../servers/process.ts'

/** Starts the service as `npm start` does, in a process of its own, with these environment variables and no others. */
export function startServer (t: Test, env: Record<string, string> = {}): ServerProcess {
  return startProcess(t, 'demo-app/server.ts', env, ['sandbox-provider/preload.ts'])
}
