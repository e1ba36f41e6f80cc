import closeWithGrace from 'close-with-grace'
import type { FastifyBaseLogger } from 'fastify'

/** By which a process is told to end: by a supervisor, by a Ctrl-C, by a terminal that is closed. */
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP'] as const
/** What Node.js cannot go on after. A process that listens for them does not end, but spins. */
const CRASHES = ['SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGSEGV', 'SIGTRAP'] as const
/** Milliseconds between looks whether the parent is still there. */
const LOOK = 250

/**
 * Runs `close` once and ends the process, when it is told to by a signal or by the end of the npm that started it, or
 * after an error that nobody caught. After `timeout` milliseconds it ends all the same.
 *
 * More signals change nothing: a Ctrl-C comes from the terminal and once more from npm, which passes it on, and the
 * second one must not cut the payments that the first one lets finish.
 */
export function closeWhenTold (log: FastifyBaseLogger, timeout: number, close: () => Promise<unknown>): void {
  let closing = false
  const options = { delay: timeout, logger: log, skip: [...SIGNALS, ...CRASHES] }
  const { close: begin } = closeWithGrace(options, async ({ err }) => {
    closing = true
    if (err) log.fatal({ err }, 'closing after an error that nobody caught')
    await close()
  })

  function tell (by: { signal: NodeJS.Signals } | { ended: string }): void {
    if (closing) return
    log.info(by, 'closing: requests that run are finished first')
    begin()
  }

  for (const signal of SIGNALS) process.on(signal, () => tell({ signal }))
  // npm passes on SIGTERM and SIGINT. Of a SIGHUP or SIGKILL to npm alone nobody tells us.
  if (process.env.npm_lifecycle_event !== undefined) whenParentEnds(() => tell({ ended: 'npm' }))
}

function whenParentEnds (then: () => void): void {
  const parent = process.ppid
  const looks = setInterval(() => {
    // Whoever has lost their parent gets another one.
    if (process.ppid === parent) return
    clearInterval(looks)
    then()
  }, LOOK)
  looks.unref()
}
