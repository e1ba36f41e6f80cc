import { randomBytes } from 'node:crypto'
import type { Claim, KeptResponse, Outcome, OwnedClaim, Store } from '../store/store.ts'
import type { World } from './case.ts'
import { leaseRunsOut } from './time.ts'

/** Milliseconds: a lease that lasts longer than any case. */
export const LEASE = 30_000
/** Milliseconds: a lease that runs out during a case. */
export const SHORT_LEASE = 50
/** Milliseconds. */
export const RETENTION = 600_000

/** The fingerprints of two different requests. */
export const ONE_REQUEST = Buffer.alloc(32, 0xf1).toString('base64url')
export const ANOTHER_REQUEST = Buffer.alloc(32, 0x0e).toString('base64url')

export function newOwner (): string {
  return randomBytes(9).toString('hex')
}

export function aClaim (claim: Partial<Claim> = {}): Claim {
  return { owner: newOwner(), fingerprint: ONE_REQUEST, lease: LEASE, retention: RETENTION, takeOver: true, ...claim }
}

/** Claims the key, and returns what its owner completes or releases it with. Rejects if the claim is not granted. */
export async function own (store: Store, id: string, claim: Claim = aClaim()): Promise<OwnedClaim> {
  const result = await store.claim(id, claim)
  if (result.state !== 'claimed') throw new Error(`the key is not granted: ${result.state}`)
  return { ...claim, attempt: result.attempt }
}

export function anOutcome (body: string | Buffer = '{"paid":true}', statusCode = 201): Outcome {
  const headers: KeptResponse['headers'] = [['content-type', 'application/json']]
  return { statusCode, response: { headers, body: Buffer.from(body as string) } }
}

export type StateOfRecord = 'running' | 'running out of lease' | 'released' | 'settled'
export const STATES: StateOfRecord[] = ['running', 'running out of lease', 'released', 'settled']

/** Brings the record into a state, and returns its owner. */
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
