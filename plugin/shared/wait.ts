/**
 * Waits for a promise, but no longer than `milliseconds` and not beyond the moment at which `signal` aborts. Leaves no
 * timer and no listener behind.
 * @param keepsProcess whether Node.js keeps the process alive for this wait
 * @returns whether the promise was fulfilled in time
 * @throws what the promise rejects with, if it rejects in time
 */
export async function isDoneWithin (
  promise: Promise<unknown>,
  milliseconds: number,
  signal?: AbortSignal | null,
  keepsProcess = true
): Promise<boolean> {
  if (signal?.aborted === true) return false
  let stop!: () => void
  const stopped = new Promise<false>((resolve) => { stop = () => { resolve(false) } })
  const timer = setTimeout(stop, milliseconds)
  if (!keepsProcess) letProcessEnd(timer)
  signal?.addEventListener('abort', stop)
  try {
    return await Promise.race([promise.then(() => true), stopped])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', stop)
  }
}

/** @param timer of Node.js. A timer of a browser is a number, and keeps nothing alive */
function letProcessEnd (timer: unknown): void {
  (timer as { unref?: () => void }).unref?.()
}

/** Resolves after `milliseconds`, or when `signal` aborts. */
export async function pause (milliseconds: number, signal?: AbortSignal | null): Promise<void> {
  await isDoneWithin(new Promise(() => {}), milliseconds, signal)
}

/** A wake-up call that any number of callers may wait for. It comes once. */
export class Wake {
  waiters = 0
  now!: () => void
  readonly #woken = new Promise<void>((resolve) => { this.now = resolve })

  /**
   * Resolves when woken, when `signal` aborts, or after `timeout` milliseconds.
   * @param keepsProcess whether Node.js keeps the process alive for this wait
   */
  async orAfter (timeout: number, signal?: AbortSignal | null, keepsProcess = true): Promise<void> {
    await isDoneWithin(this.#woken, timeout, signal, keepsProcess)
  }
}
