import t from 'tap'
import { check } from './checker.ts'
import type { Run, Strike } from './history.ts'
import {
  BOOKS, broken, CLEAN, CREATED, history, IN_PROGRESS, LEASE, OTHER_BODY, owner, PAID, RECEIPT, REPLAY, RUNS, TOLERANCE
} from './made.ts'
import type { Sent } from './made.ts'

t.test('a history in which everything went right breaks nothing, and each invariant had its case', async (t) => {
  const { verdicts } = check(history(CLEAN, { runs: [...RUNS, owner(3, 41)] }), BOOKS, TOLERANCE)
  t.same(verdicts.map(({ violations }) => violations), Array(15).fill([]))
  for (const { invariant, cases } of verdicts.slice(0, 9)) t.ok(cases > 0, invariant)
})

t.test('1. a second charge is found in the ledger, in the database, and where nobody knows of it', async (t) => {
  const charges = [...BOOKS.charges, { number: 'p2', status: 'charged', amount: 100 }]
  const started = { id: 'p2', orderId: 'o1', status: 'started', amount: 100, key: 'k2' }
  t.match(broken(history(CLEAN), { ...BOOKS, charges, payments: [...BOOKS.payments, started] }), ['1', '8'])
  t.match(broken(history(CLEAN), { ...BOOKS, payments: [...BOOKS.payments, { ...started, status: 'done' }] }), [
    '1',
    '8'
  ])
  t.match(broken(history(CLEAN), { ...BOOKS, charges }), ['1', '8'])
  t.same(
    broken(history(CLEAN), {
      ...BOOKS,
      charges: [...BOOKS.charges, { number: 'p2', status: 'declined', amount: 100 }]
    }),
    [],
    'what was declined is no charge'
  )
})

t.test('2. a receipt without its charge is found, whatever is missing', async (t) => {
  for (const charges of [[], [{ number: 'p1', status: 'processing', amount: 100 }]]) {
    t.ok(broken(history(CLEAN), { ...BOOKS, charges }).includes('2'))
  }
  t.ok(broken(history(CLEAN), { ...BOOKS, charges: [{ number: 'p1', status: 'charged', amount: 99 }] }).includes('2'))
  t.ok(broken(history(CLEAN), { ...BOOKS, payments: [] }).includes('2'))
  t.ok(broken(history(CLEAN), { ...BOOKS, orders: [] }).includes('2'), 'an order that was never created')
  t.ok(broken(history([CREATED, { ...PAID, text: 'no receipt' }])).includes('2'))
})

t.test('2. a refusal with a charge behind it is found', async (t) => {
  const declined: Sent = { at: 20, status: 402, code: 'PAYMENT_DECLINED', text: 'declined' }
  t.same(broken(history([CREATED, declined])), ['2'])
  t.same(
    broken(history([CREATED, declined]), {
      ...BOOKS,
      charges: [{ number: 'p1', status: 'declined', amount: 100 }],
      payments: [{ id: 'p1', orderId: 'o1', status: 'declined', amount: 100, key: 'k' }]
    }),
    []
  )
})

t.test('3. two answers to one key are found: other bytes, another status, a refusal of what was paid', async (t) => {
  const paidAt = { ...REPLAY, text: RECEIPT.replace('}', ',"paidAt":"later"}') }
  t.same(broken(history([CREATED, PAID, paidAt])), ['3'])
  t.same(broken(history([CREATED, PAID, { ...REPLAY, status: 201 }])), ['3'])
  t.same(broken(history([CREATED, PAID, { at: 40, status: 409, code: 'ORDER_NOT_PAYABLE' }])), ['3'])
  t.same(broken(history([CREATED, PAID, { at: 40, status: 422, code: 'FST_IDEMPOTENCY_KEY_REUSED' }])), ['3'])
  t.same(broken(history([CREATED, { ...CREATED, at: 40, text: '{"id":"o1","status":"paid"}' }])), ['3'])
  t.same(
    broken(history([CREATED, PAID, { at: 30, status: 503, final: false }, REPLAY])),
    [],
    '“not now” is no final answer'
  )
})

t.test('4. another body that is not refused is found, if it is replayed, run, or refused in other words', async (t) => {
  t.ok(broken(history([CREATED, PAID, { ...OTHER_BODY, status: 200, text: RECEIPT }])).includes('4'))
  t.ok(broken(history([CREATED, PAID, { ...OTHER_BODY, status: 409, code: 'ORDER_NOT_PAYABLE' }])).includes('4'))
})

t.test('5. a client without a final answer is found, unless it went away for good', async (t) => {
  const never: Sent = { at: 20, status: 503, final: false }
  t.same(broken(history([CREATED, never])), ['5'])
  t.same(broken(history([CREATED, { at: 20, final: false }])), ['5'])
  t.same(broken(history([CREATED, never], { abandoned: ['k'] })), [])
})

t.test('6. a key locked for longer than a lease after its owner completed, released or died is found', async (t) => {
  const refusedAt = (at: number): Sent[] => [CREATED, { at: 20 }, { ...IN_PROGRESS, at }, { ...REPLAY, at: at + 100 }]
  const settling = 29
  t.same(broken(history(refusedAt(settling + LEASE + TOLERANCE))), [])
  t.same(broken(history(refusedAt(settling + LEASE + TOLERANCE + 1))), ['6'])
  const unsettled = { runs: [owner(1, 21, { settled: null })] }
  const died = { ...unsettled, lives: [{ app: 0, from: 0, until: 500, end: 'killed' as const }] }
  t.same(broken(history(refusedAt(500 + LEASE + TOLERANCE), died)), [])
  t.same(broken(history(refusedAt(500 + LEASE + TOLERANCE + 1), died)), ['6'])
  const full = { kind: 'Redis full, for longer than a lease' as const, app: null, at: settling + 10, until: 2_000 }
  const since = 2_000 + LEASE - 10
  const during = (at: number, strike: Strike): string[] => broken(history(refusedAt(at), { strikes: [strike] }))
  t.same(during(since + LEASE + TOLERANCE, full), [], 'what it had to write was written no sooner')
  t.same(during(since + LEASE + TOLERANCE + 1, full), ['6'])
  t.same(during(since, { ...full, kind: 'link to Redis cut', app: 1 }), ['6'], 'another app was away')
  const silence = { app: 0, at: full.at, until: full.until }
  const unheard = (at: number, app: number): string[] =>
    broken(history(refusedAt(at), { silences: [{ ...silence, app }] }))
  t.same(unheard(since + LEASE + TOLERANCE, 0), [], 'who refuses did not hear Redis')
  t.same(unheard(since + LEASE + TOLERANCE + 1, 0), ['6'])
  t.same(unheard(since, 1), ['6'], 'another app did not')
  t.same(broken(history(refusedAt(90_000), unsettled)), [], 'an owner that is alive may take its time')
})

t.test('6. an owner whose claim was granted as it died has had the key until then', async (t) => {
  const sent: Sent[] = [{ at: 20 }, { ...IN_PROGRESS, at: 1_400 }, { ...REPLAY, at: 2_000 }]
  t.same(broken(history(sent, { runs: [], lives: [{ app: 0, from: 0, until: 25, end: 'killed' }] })), [])
})

t.test('6. a key that is in progress and was never owned is found', async (t) => {
  t.same(broken(history([CREATED, IN_PROGRESS, REPLAY], { runs: [] })), ['6'])
})

t.test('6. the longest lock is measured', async (t) => {
  t.equal(check(history([CREATED, PAID, { ...IN_PROGRESS, at: 329 }, REPLAY]), BOOKS, TOLERANCE).longestLock, 300)
})

t.test('7. a key that is given away within its owner’s lease is found', async (t) => {
  const tries = [CREATED, PAID, REPLAY]
  const two = (first: Partial<Run>, second: Partial<Run>): Run[] => [
    owner(1, 21, { settling: null, ...first }),
    owner(2, 41, { attempt: 2, ...second })
  ]
  t.same(broken(history(tries, { runs: two({}, {}) })), ['7'])
  t.same(broken(history(tries, { runs: two({ settling: 500 }, {}) })), ['7'])
  t.same(broken(history(tries, { runs: two({ settling: 40 }, {}) })), [], 'it had let it go')
  t.same(
    broken(history(tries, { runs: two({}, { asked: 1_000, at: 21 + LEASE, settling: 1_100 }) })),
    [],
    'its lease was over'
  )
  t.same(broken(history(tries, { runs: two({ at: 42 }, {}) })), [], 'who was first is not certain')
  const emptied: Strike = { kind: 'Redis killed, back empty', app: null, at: 30, until: 35 }
  t.same(broken(history(tries, { runs: two({}, {}), strikes: [emptied] })), [], 'Redis lost it')
})

t.test('8. sums that differ are found', async (t) => {
  t.same(
    broken(history(CLEAN), { ...BOOKS, payments: [{ id: 'p1', orderId: 'o1', status: 'done', amount: 99, key: 'k' }] }),
    ['8']
  )
})

t.test('9. an order that is left paying is found', async (t) => {
  t.same(broken(history(CLEAN), { ...BOOKS, orders: [{ id: 'o1', status: 'paying', amount: 100 }] }), ['9'])
})

t.test('a violation names the key and the tries that prove it', async (t) => {
  const { verdicts } = check(
    history([CREATED, PAID, { at: 40, status: 409, code: 'ORDER_NOT_PAYABLE', app: 1 }]),
    BOOKS,
    TOLERANCE
  )
  const [violation] = verdicts.flatMap(({ violations }) => violations)
  t.match(
    violation,
    /^k: two different answers\. try 1 \(app 0, 10 ms\): 200 .*; try 2 \(app 1, 10 ms\): 409 ORDER_NOT_PAYABLE$/
  )
})
