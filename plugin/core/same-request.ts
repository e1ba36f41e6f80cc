import type { Claim } from '../store/store.ts'

/** What two requests must have in common to be the same, in both formats of a fingerprint. */
export type Identity = Pick<Claim, 'fingerprint' | 'alternativeFingerprint'>

/** Whether a record or an entry of the journal, in whichever format it was written, is of the same request. */
export function isSameRequest ({ fingerprint, alternativeFingerprint }: Identity, stored: string): boolean {
  return stored === fingerprint || stored === alternativeFingerprint?.()
}
