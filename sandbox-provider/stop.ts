import type { FastifyInstance } from 'fastify'

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP'] as const
/** Milliseconds after which the process ends even if the app has not closed. */
const SHUTDOWN_TIMEOUT = 10_000
/** Milliseconds between two checks of the parent process. */
const CHECK = 250

/** Closes the app and ends the process at the first signal, or when the npm that started the process has ended. */
export function stopWhenAsked (app: FastifyInstance): void {
  let isStopping = false
  const stop = (): void => {
    // Ctrl-C arrives twice: from the terminal, and from npm, which passes it on.
    if (isStopping) return
    isStopping = true
    setTimeout(() => process.exit(1), SHUTDOWN_TIMEOUT).unref()
    void app.close().then(() => process.exit(0), () => process.exit(1))
  }
  for (const signal of SIGNALS) process.on(signal, stop)
  // npm does not pass on a SIGHUP, and passes on nothing when it is killed. Then this process gets another parent.
  if (process.env.npm_lifecycle_event === undefined) return
  const npm = process.ppid
  setInterval(() => { if (process.ppid !== npm) stop() }, CHECK).unref()
}
