import closeWithGrace from 'close-with-grace'
import type { FastifyBaseLogger } from 'fastify'

/** The signals by which a supervisor, a Ctrl-C or a terminal that closes asks a process to end. */
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP'] as const
/** The signals of a crash. A process that listens for them does not end, but runs in a busy loop. */
const CRASHES = ['SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGSEGV', 'SIGTRAP'] as const
/** Milliseconds between two checks of the parent process. */
const CHECK = 250

/**
 * Runs `close` once and then ends the process: after a signal, after the end of the npm that started the process, or
 * after an uncaught error. It ends the process after `timeout` milliseconds in any case.
 *
 * Further signals change nothing. A Ctrl-C arrives twice, from the terminal and from npm, which passes it on, and the
 * second one must not abort the payments that the process still finishes.
 */
export function closeWhenTold (log: FastifyBaseLogger, timeout: number, close: () => Promise<unknown>): void {
  let closing = false
  const options = { delay: timeout, logger: log, skip: [...SIGNALS, ...CRASHES] }
  const { close: begin } = closeWithGrace(options, async ({ err }) => {
    closing = true
    if (err) log.fatal({ err }, 'closing after an uncaught error')
    await close()
  })

  function stop (reason: { signal: NodeJS.Signals } | { ended: string }): void {
    if (closing) return
    log.info(reason, 'closing: running requests finish first')
    begin()
  }

  for (const signal of SIGNALS) process.on(signal, () => stop({ signal }))
  // npm passes on SIGTERM and SIGINT, but this process does not see a SIGHUP or SIGKILL that only npm gets.
  if (process.env.npm_lifecycle_event !== undefined) whenParentEnds(() => stop({ ended: 'npm' }))
}

function whenParentEnds (then: () => void): void {
  const parent = process.ppid
  const checks = setInterval(() => {
    // The system gives a process whose parent has ended another parent.
    if (process.ppid === parent) return
    clearInterval(checks)
    then()
  }, CHECK)
  checks.unref()
}
