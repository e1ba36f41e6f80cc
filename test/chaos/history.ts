import type { Boundary, FaultKind, Order } from './faults.ts'

/** What an app's preload tells. All times are of `clock()`. */
export type AppEvent =
  | { event: 'listening', port: number, at: number }
  /** The request owns its key: asked for at `asked`, known at `at`. */
  | { event: 'granted', try: number, asked: number, at: number, attempt: number }
  /** It is about to complete or release its key. */
  | { event: 'settling', try: number, at: number }
  | { event: 'struck', try: number, action: Order['action'], boundary: Boundary, at: number }

/** One request of a client, with what became of it. */
export interface Try {
  id: number
  key: string
  route: 'create' | 'pay'
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

/** A try that owned its key. */
export interface Run {
  try: number
  attempt: number
  asked: number
  at: number
  /** When it began to complete or release; `null`: never. */
  settling: number | null
}

/** A process of an app, from its start to its end. */
export interface Life {
  app: number
  from: number
  until: number
}

/** The process of an app that lived at a time, if any did. */
export function lifeAt (lives: Life[], app: number, at: number): Life | undefined {
  return lives.find(life => life.app === app && life.from <= at && at <= life.until)
}

/** A fault that has struck. */
export interface Strike {
  kind: FaultKind
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
  /** Keys whose client went away for good: nobody waits for their answer. */
  abandoned: string[]
}

/** What stands in the books when all is over. */
export interface Evidence {
  /** The provider's ledger. */
  charges: Array<{ number: string, status: string, amount: number }>
  orders: Array<{ id: string, status: string, amount: number }>
  /** `key` is the one that the payment was made with. */
  payments: Array<{ id: string, orderId: string, status: string, amount: number, key: string | null }>
}
