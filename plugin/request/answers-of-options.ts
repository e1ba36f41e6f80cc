/**
 * What a function that is an option answers: read at once, or when its promise is settled. One that returns no promise
 * costs none.
 * @param read what to make of the answer; throws if it is not what it should be
 * @param fail what to do instead, if the function or `read` throws or the promise is rejected
 */
export function later<T, F> (call: () => unknown, read: (answer: unknown) => T, fail: (error: unknown) => F): T | F | Promise<T | F> {
  try {
    const answer = call()
    return isThenable(answer) ? Promise.resolve(answer).then(read).catch(fail) : read(answer)
  } catch (error) {
    return fail(error)
  }
}

function isThenable (answer: unknown): answer is PromiseLike<unknown> {
  return typeof answer === 'object' && answer !== null && typeof (answer as { then?: unknown }).then === 'function'
}

/** For a message: what it is, and nothing of what is in it. */
export function kindOf (value: unknown): string {
  if (value === '') return 'an empty string'
  return value === null ? 'null' : typeof value
}
