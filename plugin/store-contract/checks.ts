import assert from 'node:assert/strict'
import type { ClaimResult, Outcome, StoredRecord } from '../store/store.ts'
import type { World } from './case.ts'
import { aWhile, goesOn, timed } from './time.ts'

export function isClaimed (result: ClaimResult, attempt: number, why?: string): void {
  assert.deepEqual(result, { state: 'claimed', attempt }, why)
}

export function isRunning (result: ClaimResult, why?: string): void {
  assert.equal(result.state, 'running', why)
}

export function isMismatch (result: ClaimResult): void {
  assert.deepEqual(result, { state: 'mismatch' })
}

export function isSettled (result: ClaimResult, attempt: number, outcome: Outcome): void {
  assert.ok(result.state === 'settled', `the key is settled, got ${result.state}`)
  assert.equal(result.attempt, attempt, 'the attempt that the outcome came from')
  isOutcome(result.outcome, outcome)
}

/** Checks everything in the record except for its times. */
export function isRecord (
  found: StoredRecord | null,
  state: StoredRecord['state'],
  attempt: number,
  outcome: Outcome | null = null
): void {
  assert.ok(found !== null, 'there is a record')
  assert.deepEqual({ state: found.state, attempt: found.attempt }, { state, attempt })
  assert.equal(found.leaseLeft === null, state !== 'running', 'a running record has a lease, and no other has')
  if (outcome === null) assert.equal(found.outcome, null)
  else isOutcome(found.outcome, outcome)
}

/** Checks that status, headers and bytes are the same. */
export function isOutcome (actual: Outcome | null, expected: Outcome): void {
  assert.ok(actual !== null, 'there is an outcome')
  assert.equal(actual.statusCode, expected.statusCode)
  if (actual.response === null || expected.response === null) {
    assert.equal(actual.response, expected.response)
    return
  }
  assert.deepEqual(actual.response.headers, expected.response.headers)
  const [got, wanted] = [actual, expected].map(({ response }) => Buffer.from(response?.body as string))
  // A comparison by `assert` itself would list half a million bytes in its message.
  const lengths = `(${wanted?.length} bytes, got ${got?.length})`
  assert.ok(got?.equals(wanted as Buffer), `the body is the same, byte for byte ${lengths}`)
}

/** Reads the record. The returned function checks that the record is still the same, and that its times went on. */
export async function keepsAsItIs ({ store, id, stored }: World): Promise<() => Promise<void>> {
  // After this pause a time that begins again is different from one that goes on.
  await aWhile()
  const bytes = await stored?.(id)
  const first = await timed(() => store.find(id))
  const before = first.value
  assert.ok(before !== null, 'there is a record')
  return async () => {
    const second = await timed(() => store.find(id))
    const after = second.value
    isRecord(after, before.state, before.attempt, before.outcome)
    assert.equal(await stored?.(id), bytes, 'the record is untouched, byte for byte')
    goesOn(before.expiresIn, after?.expiresIn ?? 0, first, second, 'the time until it is forgotten')
    goesOn(before.leaseLeft ?? 0, after?.leaseLeft ?? 0, first, second, 'its lease')
  }
}
