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

/** A record in this state, whatever its times are. */
export function isRecord (found: StoredRecord | null, state: StoredRecord['state'], attempt: number, outcome: Outcome | null = null): void {
  assert.ok(found !== null, 'there is a record')
  assert.deepEqual({ state: found.state, attempt: found.attempt }, { state, attempt })
  assert.equal(found.leaseLeft === null, state !== 'running', 'a running record has a lease, and no other has')
  if (outcome === null) assert.equal(found.outcome, null)
  else isOutcome(found.outcome, outcome)
}

/** The same status, headers and bytes. */
export function isOutcome (actual: Outcome | null, expected: Outcome): void {
  assert.ok(actual !== null, 'there is an outcome')
  assert.equal(actual.statusCode, expected.statusCode)
  if (actual.response === null || expected.response === null) {
    assert.equal(actual.response, expected.response)
    return
  }
  assert.deepEqual(actual.response.headers, expected.response.headers)
  const [got, wanted] = [actual, expected].map(({ response }) => Buffer.from(response?.body as string))
  // Not by a message that lists half a million bytes.
  assert.ok(got?.equals(wanted as Buffer), `the body is the same, byte for byte (${wanted?.length} bytes, got ${got?.length})`)
}

/** Takes a picture of the record; the promised check says that it is the same one, with no more time than then. */
export async function keepsAsItIs ({ store, id, stored }: World): Promise<() => Promise<void>> {
  // So that a time that is set anew would be seen.
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
