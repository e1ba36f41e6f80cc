export function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}

/** For a message: the kind of a value, and nothing of its content. */
export function kindOf (value: unknown): string {
  if (value === '') return 'an empty string'
  return value === null ? 'null' : typeof value
}
