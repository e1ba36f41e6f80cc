import { buildSandboxProvider } from './app.ts'
import { readSettings } from './settings.ts'
import { stopWhenAsked } from './stop.ts'

/* The sandbox provider in a process of its own: `npm run sandbox-provider`. */

try {
  const { host, port, logLevel, ...options } = readSettings(process.env)
  // If nobody reads the log any more, the provider goes on without it. Without a listener the error ends the process.
  process.stdout.on('error', () => {})
  const app = await buildSandboxProvider({ ...options, logger: { level: logLevel, stream: process.stdout } })
  stopWhenAsked(app)
  await app.listen({ host, port })
} catch (error) {
  process.stderr.write(`Cannot start. ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}
