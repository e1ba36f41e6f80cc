import { OUTAGES } from './settings.ts'

/** The places in a payment at which an app can be struck, in the order in which a payment passes them. */
export const BOUNDARIES = [
  'after claim', 'in transaction', 'after charge', 'after commit', 'after completion', 'before response'
] as const

export type Boundary = typeof BOUNDARIES[number]

/** The faults that the sandbox provider can simulate, by the names that it knows. */
export const PROVIDER_FAULTS = {
  'provider times out after it charged': 'timeout-after-charge',
  'provider fails': 'fail',
  'provider is slow': 'slow',
  'provider still processes': 'processing',
  'provider declines': 'decline'
} as const

export type ProviderFault = keyof typeof PROVIDER_FAULTS

export const LINKS = ['Redis', 'Postgres', 'provider'] as const

export type LinkName = typeof LINKS[number]

/**
 * Faults of a Redis that is reachable and does not do what it is asked. Each lasts for less and for longer than a
 * lease.
 */
export const OUTAGES_OF_REDIS = [
  'full', 'full for what is large', 'read-only', 'without its replicas', 'restarted with its data', 'failed over'
] as const

export type OutageOfRedis = typeof OUTAGES_OF_REDIS[number]

export type Outage = keyof typeof OUTAGES

export type FaultKind =
  | `Redis ${OutageOfRedis}, ${Outage}` | `Postgres fails to commit, ${Outage}`
  | 'app deployed while its client has left' | 'app frozen beyond its lease'
  | 'app killed at random' | `app killed ${Boundary}` | 'app stopped beyond its lease'
  | 'Redis killed, back empty' | 'Redis frozen' | 'Postgres crashed and restarted'
  | `link to ${LinkName} cut` | `link to ${LinkName} stalled`
  | ProviderFault

export const FAULT_KINDS: readonly FaultKind[] = [
  'app killed at random',
  ...BOUNDARIES.map(boundary => `app killed ${boundary}` as const),
  'app stopped beyond its lease',
  'Redis killed, back empty', 'Redis frozen', 'Postgres crashed and restarted',
  ...LINKS.flatMap(link => [`link to ${link} cut`, `link to ${link} stalled`] as const),
  ...Object.keys(PROVIDER_FAULTS) as ProviderFault[],
  ...(Object.keys(OUTAGES) as Outage[]).flatMap(outage => [
    ...OUTAGES_OF_REDIS.map(what => `Redis ${what}, ${outage}` as const), `Postgres fails to commit, ${outage}` as const
  ]),
  'app deployed while its client has left', 'app frozen beyond its lease'
]

/** Faults that strike while a handler runs that was started for this purpose. The handler ends under the fault. */
export function strikesInHandler (kind: FaultKind): boolean {
  return outageOf(kind) !== null ||
    kind === 'app deployed while its client has left' || kind === 'app frozen beyond its lease'
}

/** How long a fault lasts, if it lasts for less or for longer than a lease. */
export function outageOf (kind: FaultKind): Outage | null {
  return (Object.keys(OUTAGES) as Outage[]).find(outage => kind.endsWith(`, ${outage}`)) ?? null
}

/** Whether no app, or only the app that the fault strikes, can write to Redis while the fault lasts. */
export function keepsFromRedis (kind: FaultKind): boolean {
  return kind.startsWith('Redis ') || kind.startsWith('link to Redis')
}

/** A fault that strikes when a certain payment begins. */
export interface Fault {
  kind: FaultKind
  /** The app that it strikes, if it strikes an app or one of its links. */
  app: number
  /** How long it lasts, if it lasts. */
  milliseconds: number
  /** The boundary at which the payment's own request makes the app fail, if it does. */
  boundary: Boundary | null
}

/** The header value with which a client gives an order to the preload that runs in each app. */
export interface Order {
  action: 'kill' | 'stop'
  boundary: Boundary
}

/** The order that the payment's request carries, if the fault strikes at a boundary. */
export function orderOf ({ kind, boundary }: Fault): Order | null {
  return boundary === null ? null : { action: kind === 'app stopped beyond its lease' ? 'stop' : 'kill', boundary }
}

export const TRY_HEADER = 'x-chaos-try'
export const STRIKE_HEADER = 'x-chaos-strike'

/** The app does nothing at all while the fault lasts. */
export function standsStill (kind: FaultKind): boolean {
  return kind === 'app stopped beyond its lease' || kind === 'app frozen beyond its lease'
}
