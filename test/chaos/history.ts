import type { Boundary, FaultKind, Order } from './faults.ts'

/** What the preload of an app reports. All times are those of `clock()`. */
export type AppEvent =
  | { event: 'listening', port: number, at: number }
  /** The key has an owner: this request asked for the key at `asked`, and learned that it has it at `at`. */
  | { event: 'granted', owner: string, try: number, asked: number, at: number, attempt: number }
  /** The owner is about to complete or release its key, or to withdraw the claim. */
  | { event: 'settling', owner: string, at: number }
  /** Redis has accepted that. */
  | { event: 'settled', owner: string, at: number }
  /** The handler of the suite's own work was let through. */
  | { event: 'began', try: number, attempt: number, at: number }
  /**
   * The handler is about to answer. `kept`: with an answer that must be kept; `aborted`: its signal said that its key
   * is lost.
   */
  | { event: 'ended', try: number, kept: boolean, aborted: boolean, at: number }
  /** As far as this app knows, Redis did not answer what it was asked at `from`, or answered late, or is back. */
  | { event: 'unheard', from: number, at: number }
  | { event: 'struck', try: number, action: Order['action'], boundary: Boundary, at: number }

/** Routes of the suite itself: see work-route.ts. */
export type WorkRoute = 'work' | 'wait' | 'journalled'

/** One request of a client, and its result. */
export interface Try {
  id: number
  key: string
  route: 'create' | 'pay' | WorkRoute
  /** `another`: a body other than the one that the key was first sent with. */
  body: 'own' | 'another'
  app: number
  at: number
  /** When the try was answered or given up. */
  end: number
  /** `null`: no answer came. */
  status: number | null
  /** The code of a problem. */
  code: string | null
  text: string
  replayed: boolean
  /** No other answer may come: the client stops sending the request. */
  final: boolean
}

/** An owner of a key that this try asked for. */
export interface Run {
  try: number
  attempt: number
  asked: number
  at: number
  /** When the owner began to complete or release; `null`: never. */
  settling: number | null
  /** When Redis had accepted that; `null`: never, as far as its process knows. */
  settled: number | null
}

/** A handler of the suite's own work that was let through. */
export interface WorkRun {
  try: number
  attempt: number
  at: number
  /** When the handler was about to answer; `null`: never. */
  ended: number | null
  /** Whether that was an answer to keep. */
  kept: boolean
  /** Whether its signal said that its key is lost. */
  aborted: boolean
}

/** A process of an app, from its start to its end. */
export interface Life {
  app: number
  from: number
  until: number
  /** How the process ended; `null`: it lives. `exited`: by itself, after it was asked to. */
  end: 'killed' | 'exited' | null
}

/** The process of an app that lived at a time, if there was one. */
export function lifeAt (lives: Life[], app: number, at: number): Life | undefined {
  return lives.find(life => life.app === app && life.from <= at && at <= life.until)
}

/** A fault that has struck. */
export interface Strike {
  kind: FaultKind
  /** The app that was struck, if the fault strikes an app or one of its links. */
  app: number | null
  at: number
  until: number
}

/** The faults that were active at any time between two times. */
export function strikesDuring (strikes: Strike[], from: number, until: number): Strike[] {
  return strikes.filter(strike => strike.at <= until && strike.until >= from)
}

/** A time in which an app did not hear from Redis, for whatever reason: a fault, or a machine that is overloaded. */
export interface Silence {
  app: number
  at: number
  until: number
}

/** Everything that was seen from outside. */
export interface History {
  lease: number
  tries: Try[]
  runs: Run[]
  lives: Life[]
  strikes: Strike[]
  silences: Silence[]
  /** Keys whose client left for good: no client waits for their answer. */
  abandoned: string[]
  work: WorkRun[]
  /** Tries of one press of a button: a client's stack sent them, each when the connection of the last was cut. */
  presses: number[][]
}

/** What the books contain when everything is over. */
export interface Evidence {
  /** The provider's ledger. */
  charges: Array<{ number: string, status: string, amount: number }>
  orders: Array<{ id: string, status: string, amount: number }>
  /** `key` is the key that the payment was made with. */
  payments: Array<{ id: string, orderId: string, status: string, amount: number, key: string | null }>
  /** The keys under which the suite's own journalled work was committed, once for each commit. */
  effects: string[]
}
