import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import type { Store, StoredRecord } from '../store/store.ts'

/** Milliseconds by which what a store says of time may be off, besides what its answer took. */
const GRAIN = 20
/** Milliseconds that are told from none by what a store says of time. */
const A_WHILE = 100
/** Milliseconds within which anything happens that is to happen at once: on whatever machine, only a hang takes longer. */
export const limits = { soon: 20_000 }
/** Milliseconds between two looks. */
const PAUSE = 5

/** From when to when a call took, by this process's clock. Somewhere in between, its effect took place in the store. */
export interface Span {
  began: number
  ended: number
}

export async function timed<T> (call: () => Promise<T>): Promise<Span & { value: T }> {
  const began = performance.now()
  const value = await call()
  return { value, began, ended: performance.now() }
}

/** Lets enough time pass to tell a time that begins anew from one that goes on. */
export async function aWhile (): Promise<void> {
  await setTimeout(A_WHILE)
}

/** Looks until `condition` holds, and rejects if it does not soon. */
export async function until (condition: () => Promise<boolean>, what: string): Promise<void> {
  const start = performance.now()
  while (!await condition()) {
    assert.ok(performance.now() - start < limits.soon, `${what}, within ${limits.soon} ms`)
    await setTimeout(PAUSE)
  }
}

/** Rejects if `promise` does not settle soon. */
export async function soon<T> (promise: Promise<T>, what: string): Promise<T> {
  const settled = new AbortController()
  const late = setTimeout(limits.soon, undefined, { signal: settled.signal }).then(() => assert.fail(`${what}, within ${limits.soon} ms`))
  try {
    return await Promise.race([promise, late])
  } finally {
    late.catch(() => {})
    settled.abort()
  }
}

/** Lets the lease of a running record run out. */
export async function leaseRunsOut (store: Store, id: string): Promise<void> {
  await until(async () => (await store.find(id))?.leaseLeft === 0, 'a lease runs out, and is found to have 0 ms left')
}

/** Of a time of `full` ms that began during one call, `left` is what another call was told of it. */
export function isLeft (left: number | null | undefined, full: number, began: Span, told: Span, what: string): void {
  const least = Math.max(0, full - (told.ended - began.began) - GRAIN)
  const most = Math.max(0, full - (told.began - began.ended) + GRAIN)
  assert.ok(typeof left === 'number' && left >= least && left <= most, `${what} is ${range(least, most)} ms, got ${String(left)}`)
}

/** A record that is not settled is remembered for `retention`, and may be for as long as its `lease` besides. */
export function isRemembered (found: StoredRecord | null, { lease, retention }: { lease: number, retention: number }, began: Span, told: Span): void {
  const least = retention - (told.ended - began.began) - GRAIN
  const most = retention + lease - (told.began - began.ended) + GRAIN
  const expiresIn = found?.expiresIn ?? 0
  assert.ok(expiresIn >= least && expiresIn <= most, `the record is forgotten in ${range(least, most)} ms, got ${expiresIn}`)
}

/** Of a time of which `before` ms were left, `after` ms are, and it has gone on all the while. */
export function goesOn (before: number, after: number, first: Span, second: Span, what: string): void {
  const most = Math.max(0, before - (second.began - first.ended) + GRAIN)
  assert.ok(after <= most, `${what} is not longer than it was: at most ${Math.ceil(most)} ms, got ${after}`)
}

function range (least: number, most: number): string {
  return `between ${Math.floor(least)} and ${Math.ceil(most)}`
}
