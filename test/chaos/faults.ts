/** Where in a payment an app can be struck, in the order in which a payment passes by. */
export const BOUNDARIES = ['after claim', 'in transaction', 'after charge', 'after commit', 'after completion', 'before response'] as const

export type Boundary = typeof BOUNDARIES[number]

/** What can be told to the sandbox provider, by the names that it knows. */
export const PROVIDER_FAULTS = {
  'provider times out after it charged': 'timeout-after-charge',
  'provider fails': 'fail',
  'provider is slow': 'slow',
  'provider still processes': 'processing',
  'provider declines': 'decline'
} as const

export type ProviderFault = keyof typeof PROVIDER_FAULTS

export const LINKS = ['Redis', 'Postgres', 'gateway'] as const

export type LinkName = typeof LINKS[number]

export type FaultKind =
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
  ...Object.keys(PROVIDER_FAULTS) as ProviderFault[]
]

/** A fault that is to strike when a certain payment begins. */
export interface Fault {
  kind: FaultKind
  /** Whom it strikes, if that is an app or one of its links. */
  app: number
  /** For how long, if it lasts. */
  milliseconds: number
  /** Where the payment's own request makes the app fall, if it does. */
  boundary: Boundary | null
}

/** What a client asks of the preload that runs in each app: a header's value. */
export interface Order {
  action: 'kill' | 'stop'
  boundary: Boundary
}

/** The order that the payment's request carries, where the fault is one of a boundary. */
export function orderOf ({ kind, boundary }: Fault): Order | null {
  return boundary === null ? null : { action: kind === 'app stopped beyond its lease' ? 'stop' : 'kill', boundary }
}

export const TRY_HEADER = 'x-chaos-try'
export const STRIKE_HEADER = 'x-chaos-strike'
