import t from 'tap'
import type { History, Strike, WorkRun } from './history.ts'
import { BOOKS, broken, history, LEASE } from './made.ts'
import type { Sent } from './made.ts'
import { LONGEST_AFTERMATH } from './settings.ts'

// What is promised of the suite's own work: the tenth promise and those after it.

const WORK: Sent = { key: 'w', route: 'work', at: 0, status: 200, text: 'done' }
const AGAIN: Sent = { ...WORK, at: 400, app: 1 }

function run (id: number, at: number, more: Partial<WorkRun> = {}): WorkRun {
  return { try: id, attempt: 1, at, ended: at + 100, kept: true, aborted: false, ...more }
}

function strike (kind: Strike['kind'], more: Partial<Strike> = {}): Strike {
  return { kind, app: null, at: 150, until: 300, ...more }
}

function found (sent: Sent[], work: WorkRun[], more: Partial<History> = {}): string[] {
  return broken(history(sent, { runs: [], work, ...more }))
}

const TWICE = [run(0, 10), run(1, 410, { attempt: 2 })]

t.test('10. a run after a completed one is found', async (t) => {
  t.same(found([WORK, AGAIN], TWICE), ['10'])
  t.same(found([WORK, AGAIN], [run(0, 10)]), [])
  t.same(found([WORK, AGAIN], [run(0, 10, { kept: false }), run(1, 410)]), [], 'the first had failed')
  t.same(found([WORK, AGAIN], [run(0, 10, { ended: null }), run(1, 410)]), [], 'the first had not ended')
  t.same(found([WORK, { ...AGAIN, key: 'other' }], TWICE), [], 'of another key')
})

t.test('10. a run is found as repeated whatever Redis refused meanwhile, and for however long', async (t) => {
  for (const kind of ['Redis full, for longer than a lease', 'Redis read-only, for longer than a lease', 'Redis restarted with its data, for longer than a lease', 'Redis frozen'] as const) {
    t.same(found([WORK, AGAIN], TWICE, { strikes: [strike(kind)] }), ['10'], kind)
  }
  t.same(found([WORK, AGAIN], TWICE, { strikes: [strike('Redis killed, back empty')] }), [], 'it was lost')
})

t.test('10. a run may be repeated when its process died, stood still, or was alone without Redis for too long', async (t) => {
  const other = { app: 1, from: -100, until: 100_000, end: null }
  t.same(found([WORK, AGAIN], TWICE, { lives: [{ app: 0, from: -100, until: 200, end: 'killed' }, other] }), [])
  t.same(found([WORK, AGAIN], TWICE, { lives: [{ app: 0, from: -100, until: 500, end: 'killed' }, other] }), ['10'], 'it died later')
  t.same(found([WORK, AGAIN], TWICE, { strikes: [strike('app frozen beyond its lease', { app: 0 })] }), [])
  t.same(found([WORK, AGAIN], TWICE, { strikes: [strike('app frozen beyond its lease', { app: 1 })] }), ['10'], 'another one stood still')
  const cut = (app: number, until: number): Strike[] => [strike('link to Redis cut', { app, at: -200, until })]
  t.same(found([WORK, AGAIN], TWICE, { strikes: cut(0, LEASE / 2 - 200) }), [])
  t.same(found([WORK, AGAIN], TWICE, { strikes: cut(0, LEASE / 4 - 200) }), ['10'], 'not for long enough')
  t.same(found([WORK, AGAIN], TWICE, { strikes: cut(1, LEASE / 2 - 200) }), ['10'], 'another one was')
})

t.test('11. a process that was told to end, and cut a handler or lost an outcome, is found', async (t) => {
  const lives: History['lives'] = [{ app: 0, from: -100, until: 200, end: 'exited' }, { app: 1, from: -100, until: 100_000, end: null }]
  t.same(found([WORK, AGAIN], TWICE, { lives }), ['11'])
  t.same(found([WORK, AGAIN], [run(0, 10, { ended: null, kept: false })], { lives }), ['11'])
  t.same(found([WORK, AGAIN], [run(0, 10)], { lives }), [])
  t.same(found([WORK, AGAIN], TWICE, { lives, strikes: [strike('Redis full, for longer than a lease', { at: 120 })] }), [], 'nobody could hear of it')
})

t.test('12. a press that gets more than one answer, another than 200, or more than one run is found', async (t) => {
  const cut: Sent = { ...WORK, status: null, text: '', final: false }
  const press = (more: Partial<History> = {}): Partial<History> => ({ presses: [[0, 1]], ...more })
  t.same(found([cut, AGAIN], [run(0, 5)], press()), [])
  t.same(found([cut, { ...AGAIN, status: 409, code: 'FST_IDEMPOTENCY_IN_PROGRESS', final: false, at: 120 }, { ...AGAIN, at: 900 }], [run(0, 5)], press({ runs: [{ try: 0, attempt: 1, asked: 1, at: 2, settling: 130, settled: 130 }] })), ['12'])
  t.same(found([cut, { ...AGAIN, status: 503, final: false }, { ...AGAIN, at: 900 }], [run(0, 5)], press()), ['12'])
  t.same(found([cut, AGAIN], [run(0, 5, { kept: false }), run(1, 410)], press()), ['12'])
  const excused = [strike('Redis full, for less than a lease'), strike('app frozen beyond its lease', { app: 1 }), strike('link to Redis cut', { app: 0, until: 160 })]
  const before = { at: -LEASE - 500 }
  t.same(found([cut, { ...AGAIN, status: 503, final: false }, { ...AGAIN, at: 900 }], [run(0, 5)], press({ strikes: [strike('Redis frozen', { ...before, until: -LEASE - 1 })] })), ['12'], 'long over')
  t.same(found([cut, { ...AGAIN, status: 503, final: false }, { ...AGAIN, at: 900 }], [run(0, 5)], press({ strikes: [strike('Redis frozen', { ...before, until: -LEASE + 1 })] })), [], 'just over')
  for (const one of excused) t.same(found([cut, { ...AGAIN, status: 503, final: false }, { ...AGAIN, at: 900 }], [run(0, 5)], press({ strikes: [one] })), [], one.kind)
})

t.test('13. a run whose client had left while it waited is found', async (t) => {
  const left: Sent = { ...WORK, at: 10, status: null, text: '', final: false }
  const late = 20 + LONGEST_AFTERMATH
  t.same(found([left, { ...AGAIN, at: 5_000 }], [run(0, late + 1)]), ['13'])
  t.same(found([left, { ...AGAIN, at: 5_000 }], [run(0, late)]), [], 'it was on its way')
  t.same(found([left, { ...AGAIN, at: 5_000 }], [run(0, late + 1)], { strikes: [strike('Redis frozen')] }), [])
})

t.test('14. a handler that stood still for longer than its lease and was not told is found', async (t) => {
  const still = strike('app frozen beyond its lease', { app: 0, at: 20, until: 20 + LEASE })
  t.same(found([WORK], [run(0, 10, { ended: 2_000 })], { strikes: [still] }), ['14'])
  t.same(found([WORK], [run(0, 10, { ended: 2_000, aborted: true })], { strikes: [still] }), [])
  t.same(found([WORK], [run(0, 10, { ended: 2_000 })], { strikes: [{ ...still, until: 10 + LEASE }] }), [], 'its lease was not over')
  t.same(found([WORK], [run(0, 10, { ended: 2_000 })], { strikes: [{ ...still, app: 1 }] }), [])
})

t.test('15. an answer whose transaction failed, and one that was committed twice, are found', async (t) => {
  const done: Sent = { ...WORK, route: 'journalled', status: 204, text: '' }
  const found = (effects: string[], more: Partial<WorkRun> = {}): string[] =>
    broken(history([done], { runs: [], work: [run(0, 5, more)] }), { ...BOOKS, effects })
  t.same(found(['w']), [])
  t.same(found(['w'], { ended: null, kept: false }), [], 'its process died')
  t.same(found([]), ['15'])
  t.same(found(['w'], { kept: false }), ['15'], 'another run committed later')
  t.same(found(['w', 'w']), ['15'])
})
