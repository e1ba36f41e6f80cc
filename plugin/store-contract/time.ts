import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import type { Store, StoredRecord } from '../store/store.ts'

/** Milliseconds: the error that a store's times may have, in addition to the time that its answer took. */
const GRAIN = 20
/** Milliseconds: a pause that is long enough to be seen in a store's times. */
const A_WHILE = 100
/** Milliseconds within which something happens that must happen at once. On any machine only a hang takes longer. */
export const limits = { soon: 20_000 }
/** Milliseconds between two checks of a condition. */
const PAUSE = 5

/** When a call began and ended, on this process's clock. Its effect in the store took place at some time between. */
export interface Span {
  began: number
  ended: number
}

export async function timed<T> (call: () => Promise<T>): Promise<Span & { value: T }> {
  const began = performance.now()
  const value = await call()
  return { value, began, ended: performance.now() }
}

/** Lets enough time pass to distinguish a time that begins again from one that goes on. */
export async function aWhile (): Promise<void> {
  await setTimeout(A_WHILE)
}

/** Resolves once `condition` holds. Rejects if this takes too long. */
export async function until (condition: () => Promise<boolean>, what: string): Promise<void> {
  const startedAt = performance.now()
  while (!await condition()) {
    assert.ok(performance.now() - startedAt < limits.soon, `${what}, within ${limits.soon} ms`)
    await setTimeout(PAUSE)
  }
}

/** Resolves to the value of `promise`. Rejects if this takes too long. */
export async function soon<T> (promise: Promise<T>, what: string): Promise<T> {
  const done = new AbortController()
  const late = setTimeout(limits.soon, undefined, { signal: done.signal })
    .then(() => assert.fail(`${what}, within ${limits.soon} ms`))
  try {
    return await Promise.race([promise, late])
  } finally {
    late.catch(() => {})
    done.abort()
  }
}

/** Resolves once the lease of a running record has run out. */
export async function leaseRunsOut (store: Store, id: string): Promise<void> {
  await until(async () => (await store.find(id))?.leaseLeft === 0, 'a lease runs out, and is found to have 0 ms left')
}

/**
 * Checks the rest of a time.
 * @param left the rest of it, as the call `read` returned it
 * @param full how long the time is altogether
 * @param start the call during which the time began
 */
export function isLeft (
  left: number | null | undefined,
  full: number,
  start: Span,
  read: Span,
  what: string
): void {
  const least = Math.max(0, full - (read.ended - start.began) - GRAIN)
  const most = Math.max(0, full - (read.began - start.ended) + GRAIN)
  const isCorrect = typeof left === 'number' && left >= least && left <= most
  assert.ok(isCorrect, `${what} is ${range(least, most)} ms, got ${String(left)}`)
}

/**
 * Checks that a record which is not settled is remembered for `retention`, or for up to the length of its `lease`
 * longer.
 * @param start the call during which the time began
 * @param read the call that returned the record
 */
export function isRemembered (
  found: StoredRecord | null,
  { lease, retention }: { lease: number, retention: number },
  start: Span,
  read: Span
): void {
  const least = retention - (read.ended - start.began) - GRAIN
  const most = retention + lease - (read.began - start.ended) + GRAIN
  const expiresIn = found?.expiresIn ?? 0
  const isCorrect = expiresIn >= least && expiresIn <= most
  assert.ok(isCorrect, `the record is forgotten in ${range(least, most)} ms, got ${expiresIn}`)
}

/** Checks that a time has gone on: `before` ms of it were left at the first call, and `after` ms at the second. */
export function goesOn (before: number, after: number, first: Span, second: Span, what: string): void {
  const most = Math.max(0, before - (second.began - first.ended) + GRAIN)
  assert.ok(after <= most, `${what} is not longer than it was: at most ${Math.ceil(most)} ms, got ${after}`)
}

function range (least: number, most: number): string {
  return `between ${Math.floor(least)} and ${Math.ceil(most)}`
}
