import { check } from './checker.ts'
import type { Evidence, History, Run, Try } from './history.ts'

/* Histories and books that are made by hand, to hold the checker against. */

export const LEASE = 1_000
export const TOLERANCE = 500

export const RECEIPT = JSON.stringify({ orderId: 'o1', paymentId: 'p1', amount: 100, status: 'paid' })

/** Tries of the key `k`, unless they say otherwise. Ids follow the order of the list. */
export type Sent = Partial<Omit<Try, 'id'>> & Pick<Try, 'at'>

export const CREATED: Sent = { key: 'order', route: 'create', at: 0, status: 201, text: '{"id":"o1"}' }
export const PAID: Sent = { at: 20, status: 200, text: RECEIPT }
export const REPLAY: Sent = { ...PAID, at: 40, replayed: true }
export const IN_PROGRESS: Sent = { at: 25, status: 409, code: 'FST_IDEMPOTENCY_IN_PROGRESS', final: false }
export const OTHER_BODY: Sent = { at: 50, body: 'another', status: 422, code: 'FST_IDEMPOTENCY_KEY_REUSED' }
export const RUNS: Run[] = [owner(0, 1), owner(1, 21)]

export function owner (id: number, asked: number, more: Partial<Run> = {}): Run {
  return { try: id, attempt: 1, asked, at: asked + 1, settling: asked + 8, settled: asked + 8, ...more }
}

export function history (sent: Sent[], more: Partial<History> = {}): History {
  return {
    lease: LEASE,
    tries: sent.map((entry, id) => ({
      id,
      key: 'k',
      route: 'pay',
      body: 'own',
      app: 0,
      end: entry.at + 10,
      status: null,
      code: null,
      text: '',
      replayed: false,
      final: entry.status !== undefined,
      ...entry
    })),
    runs: RUNS,
    lives: [{ app: 0, from: -100, until: 100_000, end: null }, { app: 1, from: -100, until: 100_000, end: null }],
    strikes: [],
    silences: [],
    abandoned: [],
    work: [],
    presses: [],
    ...more
  }
}

export const BOOKS: Evidence = {
  charges: [{ number: 'p1', status: 'charged', amount: 100 }],
  orders: [{ id: 'o1', status: 'paid', amount: 100 }],
  payments: [{ id: 'p1', orderId: 'o1', status: 'done', amount: 100, key: 'k' }],
  effects: []
}

export const CLEAN = [CREATED, PAID, IN_PROGRESS, REPLAY, OTHER_BODY]

/** The numbers of the invariants that are broken. */
export function broken (seen: History, books = BOOKS): string[] {
  return check(seen, books, TOLERANCE).verdicts
    .filter(({ violations }) => violations.length > 0)
    .map(({ invariant }) => invariant.split('.', 1)[0] as string)
}
