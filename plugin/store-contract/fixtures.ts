import { randomBytes } from 'node:crypto'
import type { Claim, Outcome, OwnedClaim, Store } from '../store/store.ts'
import type { World } from './case.ts'
import { leaseRunsOut } from './time.ts'

/** Milliseconds: longer than any case takes, so that it lasts. */
export const LEASE = 30_000
/** Milliseconds: a lease that is to run out while a case looks on. */
export const SHORT_LEASE = 50
/** Milliseconds. */
export const RETENTION = 600_000

/** The SHA-256 of one request and of another. */
export const ONE_REQUEST = Buffer.alloc(32, 0xf1).toString('base64url')
export const ANOTHER_REQUEST = Buffer.alloc(32, 0x0e).toString('base64url')

export function newOwner (): string {
  return randomBytes(9).toString('hex')
}

export function aClaim (claim: Partial<Claim> = {}): Claim {
  return { owner: newOwner(), fingerprint: ONE_REQUEST, lease: LEASE, retention: RETENTION, takeOver: true, ...claim }
}

/** Claims the key, and gives what its owner completes or releases it with. Rejects if it is not granted. */
export async function own (store: Store, id: string, claim: Claim = aClaim()): Promise<OwnedClaim> {
  const result = await store.claim(id, claim)
  if (result.state !== 'claimed') throw new Error(`the key is not granted: ${result.state}`)
  return { ...claim, attempt: result.attempt }
}

export function anOutcome (body: string | Buffer = '{"paid":true}', statusCode = 201): Outcome {
  return { statusCode, response: { headers: [['content-type', 'application/json']], body: Buffer.from(body as string) } }
}

export type StateOfRecord = 'running' | 'running out of lease' | 'released' | 'settled'
export const STATES: StateOfRecord[] = ['running', 'running out of lease', 'released', 'settled']

/** Brings the record into a state, and gives its owner. */
export async function bringTo (state: StateOfRecord, { store, id }: World): Promise<OwnedClaim> {
  const owned = await own(store, id, aClaim(state === 'running out of lease' ? { lease: SHORT_LEASE } : {}))
  switch (state) {
    case 'running':
      break
    case 'running out of lease':
      await leaseRunsOut(store, id)
      break
    case 'released':
      await store.release(id, owned)
      break
    case 'settled':
      await store.complete(id, owned, anOutcome())
  }
  return owned
}
