import { acquire } from '../core/acquire.ts'
import { recordId } from '../core/record-id.ts'
import type { Identity } from '../core/same-request.ts'
import type { RequestContender } from './contender.ts'
import type { Fingerprinter } from './fingerprint.ts'
import { readKey } from './key.ts'
import { legacyFingerprintOf } from './legacy-fingerprint.ts'
import { refuseForOption } from './option-call.ts'
import { readScope } from './scope.ts'
import { takenFingerprint } from './take-fingerprint.ts'

// This is the way of every protected request. Options that return no promise cost no promise and no closure here, since
// the benchmark shows what these cost.

/**
 * Acquires the request's key, and tells the contender what became of it. Waits for those options that return promises.
 * A request that has no key, and may go without, runs at once.
 */
export function claim (contender: RequestContender, fingerprintOf: Fingerprinter): void {
  let hasKey: boolean | Promise<boolean>
  try {
    hasKey = identify(contender, fingerprintOf)
  } catch (error) {
    return contender.refused(error)
  }
  if (hasKey instanceof Promise) {
    hasKey.then((hasKey) => { begin(contender, hasKey) }, (error: unknown) => { contender.refused(error) })
  } else {
    begin(contender, hasKey)
  }
}

function begin (contender: RequestContender, hasKey: boolean): void {
  if (!hasKey) return contender.next()
  // The request was answered while an option made it wait (`handlerTimeout`).
  if (!contender.isAnswered) acquire(contender)
}

/**
 * Reads what a request is known by: its key, the key's scope, and its fingerprint. A promise only if an option returns
 * one.
 * @returns whether the request has a key
 * @throws {IdempotencyError} what to answer instead
 */
function identify (contender: RequestContender, fingerprintOf: Fingerprinter): boolean | Promise<boolean> {
  const key = readKey(contender.request, contender.settings)
  return key instanceof Promise
    ? key.then(key => withKey(contender, fingerprintOf, key))
    : withKey(contender, fingerprintOf, key)
}

function withKey (
  contender: RequestContender, fingerprintOf: Fingerprinter, key: string | undefined
): boolean | Promise<boolean> {
  if (key === undefined) return false
  contender.key = key
  const scope = readScope(contender.request, contender.settings.scope)
  return scope instanceof Promise
    ? scope.then(scope => withScope(contender, fingerprintOf, scope))
    : withScope(contender, fingerprintOf, scope)
}

function withScope (
  contender: RequestContender, fingerprintOf: Fingerprinter, scope: string
): boolean | Promise<boolean> {
  contender.scope = scope
  contender.id = recordId(scope, contender.key)
  const fingerprint = readFingerprint(contender, fingerprintOf)
  return fingerprint instanceof Promise
    ? fingerprint.then(fingerprint => withFingerprint(contender, fingerprintOf, fingerprint))
    : withFingerprint(contender, fingerprintOf, fingerprint)
}

function withFingerprint (contender: RequestContender, fingerprintOf: Fingerprinter, fingerprint: string): true {
  contender.identity = identityOf(contender, fingerprintOf, fingerprint)
  return true
}

/** The fingerprint in the format of the records that this process writes. */
function readFingerprint (contender: RequestContender, fingerprintOf: Fingerprinter): string | Promise<string> {
  const { engine: { settings: { recordVersion } }, request, settings } = contender
  const refuse = (error: unknown): never => refuseForOption('fingerprint', request, error)
  try {
    const fingerprint = recordVersion === 1
      ? legacyFingerprintOf(request, settings)
      : takenFingerprint(fingerprintOf, request)
    return fingerprint instanceof Promise ? fingerprint.catch(refuse) : fingerprint
  } catch (error) {
    return refuse(error)
  }
}

/** What the request is compared by, in the format of the records that are written and in the other one that is read. */
function identityOf (
  { engine: { settings: { recordVersion } }, request, settings }: RequestContender, fingerprintOf: Fingerprinter,
  fingerprint: string
): Identity {
  return {
    fingerprint,
    alternativeFingerprint: () => orNone(() =>
      recordVersion === 1 ? takenFingerprint(fingerprintOf, request) : legacyFingerprintOf(request, settings))
  }
}

/**
 * The fingerprint in the other format; '' if there is none, or only as a promise. A body that cannot be compared in
 * that format has no record in it, and a store cannot wait.
 */
function orNone (take: () => string | Promise<string>): string {
  try {
    const taken = take()
    if (typeof taken === 'string') return taken
    taken.catch(() => {})
  } catch {
    // It cannot be compared, so there is no such record.
  }
  return ''
}
