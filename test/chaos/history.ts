import type { Boundary, FaultKind, Order } from './faults.ts'

/** What an app's preload tells. All times are of `clock()`. */
export type AppEvent =
  | { event: 'listening', port: number, at: number }
  /** The key has an owner: this request asked for it at `asked`, and knew at `at`. */
  | { event: 'granted', owner: string, try: number, asked: number, at: number, attempt: number }
  /** It is about to complete or release its key, or to give the claim back. */
  | { event: 'settling', owner: string, at: number }
  /** Redis has taken that. */
  | { event: 'settled', owner: string, at: number }
  /** The handler of the suite's own work was let through. */
  | { event: 'began', try: number, attempt: number, at: number }
  /** It is about to answer. `kept`: with an answer that must be kept; `aborted`: it was told that its key is lost. */
  | { event: 'ended', try: number, kept: boolean, aborted: boolean, at: number }
  /** Redis did not answer what it was asked at `from`, or late, or is back, as far as this app knows. */
  | { event: 'unheard', from: number, at: number }
  | { event: 'struck', try: number, action: Order['action'], boundary: Boundary, at: number }

/** Routes of the suite's own: see work-route.ts. */
export type WorkRoute = 'work' | 'wait' | 'journalled'

/** One request of a client, with what became of it. */
export interface Try {
  id: number
  key: string
  route: 'create' | 'pay' | WorkRoute
  /** `another`: not the one that the key was first sent with. */
  body: 'own' | 'another'
  app: number
  at: number
  /** When it was answered or given up. */
  end: number
  /** `null`: no answer came. */
  status: number | null
  /** Of a problem. */
  code: string | null
  text: string
  replayed: boolean
  /** No other answer may come: the client stops sending it. */
  final: boolean
}

/** An owner of a key, which this try asked for. */
export interface Run {
  try: number
  attempt: number
  asked: number
  at: number
  /** When it began to complete or release; `null`: never. */
  settling: number | null
  /** When Redis had that; `null`: never, as far as its process has heard. */
  settled: number | null
}

/** A handler of the suite's own work that was let through. */
export interface WorkRun {
  try: number
  attempt: number
  at: number
  /** When it was about to answer; `null`: never. */
  ended: number | null
  /** Whether that was an answer to keep. */
  kept: boolean
  /** Whether it was told that its key is lost. */
  aborted: boolean
}

/** A process of an app, from its start to its end. */
export interface Life {
  app: number
  from: number
  until: number
  /** How; `null`: it lives. `exited`: by itself, after it was told to. */
  end: 'killed' | 'exited' | null
}

/** The process of an app that lived at a time, if any did. */
export function lifeAt (lives: Life[], app: number, at: number): Life | undefined {
  return lives.find(life => life.app === app && life.from <= at && at <= life.until)
}

/** A fault that has struck. */
export interface Strike {
  kind: FaultKind
  /** Whom, if that is an app or one of its links. */
  app: number | null
  at: number
  until: number
}

/** What struck at any time from one to another. */
export function strikesDuring (strikes: Strike[], from: number, until: number): Strike[] {
  return strikes.filter(strike => strike.at <= until && strike.until >= from)
}

/** Time in which an app did not hear Redis, for whatever reason: a fault, or a machine that has too much to do. */
export interface Silence {
  app: number
  at: number
  until: number
}

/** All that was seen from outside. */
export interface History {
  lease: number
  tries: Try[]
  runs: Run[]
  lives: Life[]
  strikes: Strike[]
  silences: Silence[]
  /** Keys whose client went away for good: nobody waits for their answer. */
  abandoned: string[]
  work: WorkRun[]
  /** Tries of one press of a button: a client's stack sent them, each when the connection of the last was cut. */
  presses: number[][]
}

/** What stands in the books when all is over. */
export interface Evidence {
  /** The provider's ledger. */
  charges: Array<{ number: string, status: string, amount: number }>
  orders: Array<{ id: string, status: string, amount: number }>
  /** `key` is the one that the payment was made with. */
  payments: Array<{ id: string, orderId: string, status: string, amount: number, key: string | null }>
  /** Keys under which the suite's own journalled work was committed, once for each commit. */
  effects: string[]
}
