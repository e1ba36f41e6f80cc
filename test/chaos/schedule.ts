import { seeded } from '../../sandbox-provider/random.ts'
import { BOUNDARIES, FAULT_KINDS, outageOf, strikesInHandler } from './faults.ts'
import type { Fault, FaultKind } from './faults.ts'
import type { WorkRoute } from './history.ts'
import { LARGE_ANSWER, LONG_WORK, LONGEST_STALL, OUTAGES, PROVIDER_TIMEOUT, WORK_STRUCK } from './settings.ts'
import type { Work } from './work-route.ts'

/** What clients do besides sending a payment until they get a final answer. `abandons`: sends it once, and leaves. */
export const CLIENT_KINDS = [
  'sends another body', 'disconnects', 'races itself', 'races another key', 'abandons'
] as const

/** What clients do with the suite's own work. `leaves`: leaves while the work runs, and comes back for the answer. */
export const WORK_CLIENT_KINDS = ['leaves', 're-sends by itself', 'leaves while it waits', 'is plain'] as const

export interface PlannedWork extends Work {
  route: WorkRoute
  client: typeof WORK_CLIENT_KINDS[number]
}

export interface PlannedPayment {
  index: number
  /** In minor units; never an amount that the sandbox always declines. */
  amount: number
  method: 'card' | 'wallet'
  /** The app that is asked first. */
  app: number
  client: typeof CLIENT_KINDS[number] | 'is plain'
  /** Milliseconds after which a client that disconnects or abandons leaves. */
  leavesAfter: number
  /** The fault that strikes when the payment begins. */
  fault: Fault | null
  /** The work that runs beside the payment. */
  work: PlannedWork | null
}

export interface ScheduleOptions {
  seed: number
  payments: number
  /** At most as many as payments: no payment begins with two faults. */
  faults: number
  apps: number
  /** The kinds of faults; each occurs as often as it is listed. Default: each once. */
  kinds?: readonly FaultKind[]
}

/** One payment in this many has a client that is not plain. */
const SPECIAL_CLIENTS = 5
/** One payment in this many has work beside it, and so has each payment that is struck in a handler. */
const WITH_WORK = 4
/** One abandoned payment for this many apps that are killed after they charged: another client has to settle it. */
const ABANDONED = 3

/** Everything that will happen, as far as it is decided beforehand: the same options give the same schedule. */
export function schedule (options: ScheduleOptions): PlannedPayment[] {
  const { seed, payments, faults, apps, kinds: given = FAULT_KINDS } = options
  const random = seeded(seed)
  const below = (end: number): number => Math.floor(random() * end)
  const shuffled = <T>(values: readonly T[]): T[] => {
    const left = [...values]
    return values.map(() => left.splice(below(left.length), 1)[0] as T)
  }
  /** `count` values, each as often as any other. */
  const inRounds = <T>(values: readonly T[], count: number): T[] =>
    Array.from({ length: Math.ceil(count / values.length) }, () => shuffled(values)).flat().slice(0, count)

  const kinds = inRounds(given, faults)
  const clients = inRounds(CLIENT_KINDS.filter(kind => kind !== 'abandons'), Math.ceil(payments / SPECIAL_CLIENTS))
  const workClients = inRounds(WORK_CLIENT_KINDS, Math.ceil(payments / WITH_WORK))
  const planned = Array.from({ length: payments }, (_, index): PlannedPayment => ({
    index,
    amount: 100 * (1 + below(9_999)) + 3 + below(97),
    method: random() < 0.5 ? 'card' : 'wallet',
    app: below(apps),
    client: index % SPECIAL_CLIENTS === 0 ? clients[index / SPECIAL_CLIENTS] as PlannedPayment['client'] : 'is plain',
    leavesAfter: 2 + below(60),
    fault: null,
    work: index % WITH_WORK === 2
      ? workOf(workClients[Math.floor(index / WITH_WORK)] as PlannedWork['client'], random)
      : null
  }))
  // One fault in each of as many stretches, so that faults come all the time and never two with one payment.
  let killsAfterCharge = 0
  for (const [i, kind] of kinds.entries()) {
    const from = Math.floor(i * payments / faults)
    const to = Math.floor((i + 1) * payments / faults)
    const payment = planned[from + below(to - from)] as PlannedPayment
    const fault = payment.fault = faultOf(kind, below(apps), random)
    if (strikesInHandler(kind)) {
      payment.app = fault.app
      payment.work = workStruckBy(kind, random)
    }
    if (kind === 'app killed after charge' && killsAfterCharge++ % ABANDONED === 0) {
      payment.client = 'abandons'
      payment.leavesAfter = PROVIDER_TIMEOUT
    }
  }
  return planned
}

function workOf (client: PlannedWork['client'], random: () => number): PlannedWork {
  if (client === 'leaves while it waits') {
    return { route: random() < 0.5 ? 'work' : 'wait', client, takes: LONG_WORK, size: 0, fails: random() < 0.7 ? 1 : 0 }
  }
  const route = client === 're-sends by itself' ? 'work' : random() < 0.5 ? 'work' : 'journalled'
  return { route, client, takes: Math.round(300 * random()), size: random() < 0.2 ? LARGE_ANSWER : 0, fails: 0 }
}

/** The work ends while the fault lasts, and its client has left if the fault says so. */
export function workStruckBy (kind: FaultKind, random: () => number): PlannedWork {
  return {
    route: kind.startsWith('Postgres') ? 'journalled' : 'work',
    client: kind === 'app deployed while its client has left' || random() < 0.5 ? 'leaves' : 'is plain',
    // The time for an app that is asked to end or to stand still: it must learn of that before its work is done, even
    // on a busy machine.
    takes: kind.startsWith('app') ? 4 * WORK_STRUCK : WORK_STRUCK,
    size: kind.startsWith('Redis full for what is large') ? LARGE_ANSWER : 0,
    fails: 0
  }
}

function faultOf (kind: FaultKind, app: number, random: () => number): Fault {
  const boundary = kind === 'app stopped beyond its lease'
    ? BOUNDARIES[Math.floor(random() * BOUNDARIES.length)] ?? null
    : BOUNDARIES.find(boundary => kind === `app killed ${boundary}`) ?? null
  return { kind, app, boundary, milliseconds: millisecondsOf(kind, random) }
}

function millisecondsOf (kind: FaultKind, random: () => number): number {
  const outage = outageOf(kind)
  if (outage !== null) {
    const [least, most] = OUTAGES[outage]
    return Math.round(least + (most - least) * random())
  }
  switch (kind) {
    case 'provider times out after it charged': return PROVIDER_TIMEOUT * 1.5
    case 'provider is slow': return Math.round(PROVIDER_TIMEOUT * (0.2 + 0.5 * random()))
    case 'provider still processes': return Math.round(100 + 900 * random())
    case 'Redis frozen':
    case 'link to Redis stalled':
    case 'link to Postgres stalled':
    case 'link to provider stalled': return Math.round(LONGEST_STALL * (0.2 + 0.8 * random()))
    case 'Redis killed, back empty':
    case 'link to Redis cut':
    case 'link to Postgres cut':
    case 'link to provider cut': return Math.round(300 * random())
    default: return 0
  }
}
