import t from 'tap'
import { OUTAGES_OF_REDIS } from './faults.ts'
import type { History, Strike, WorkRun } from './history.ts'
import { BOOKS, broken, history, LEASE } from './made.ts'
import type { Sent } from './made.ts'
import { LONGEST_AFTERMATH } from './settings.ts'

// The promises about the suite's own work: the tenth promise and those after it.

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

/** The first run was completed, and there is a second one. */
function repeated (more: Partial<History> = {}): string[] {
  return found([WORK, AGAIN], TWICE, more)
}

const TWICE = [run(0, 10), run(1, 410, { attempt: 2 })]

t.test('10. a run after a completed one is found', async (t) => {
  t.same(repeated(), ['10'])
  t.same(found([WORK, AGAIN], [run(0, 10)]), [])
  t.same(found([WORK, AGAIN], [run(0, 10, { kept: false }), run(1, 410)]), [], 'the first had failed')
  t.same(found([WORK, AGAIN], [run(0, 10, { ended: null }), run(1, 410)]), [], 'the first had not ended')
  t.same(found([WORK, { ...AGAIN, key: 'other' }], TWICE), [], 'of another key')
})

t.test('10. a run is found as repeated whatever Redis refused meanwhile, and for however long', async (t) => {
  const kinds = OUTAGES_OF_REDIS.map(what => `Redis ${what}, for longer than a lease` as const)
  for (const kind of [...kinds, 'Redis frozen'] as const) {
    t.same(repeated({ strikes: [strike(kind)] }), ['10'], kind)
  }
  t.same(repeated({ strikes: [strike('Redis killed, back empty')] }), [], 'it was lost')
})

t.test('10. a run may be repeated when its process died, stood still, or was without Redis on its own', async (t) => {
  const other = { app: 1, from: -100, until: 100_000, end: null }
  t.same(repeated({ lives: [{ app: 0, from: -100, until: 200, end: 'killed' }, other] }), [])
  t.same(repeated({ lives: [{ app: 0, from: -100, until: 500, end: 'killed' }, other] }), ['10'], 'it died later')
  t.same(repeated({ strikes: [strike('app frozen beyond its lease', { app: 0 })] }), [])
  t.same(repeated({ strikes: [strike('app frozen beyond its lease', { app: 1 })] }), ['10'], 'another one stood still')
  const cut = (app: number, until: number): Strike[] => [strike('link to Redis cut', { app, at: -200, until })]
  t.same(repeated({ strikes: cut(0, LEASE / 2 - 200) }), [])
  t.same(repeated({ strikes: cut(0, LEASE / 4 - 200) }), ['10'], 'not for long enough')
  t.same(repeated({ strikes: cut(1, LEASE / 2 - 200) }), ['10'], 'another one was')
  const outage = strike('Redis read-only, for less than a lease', { at: -200, until: LEASE / 4 - 200 })
  t.same(repeated({ strikes: [outage, ...cut(0, LEASE / 4 - 200)] }), [], 'its link was away when Redis was back')
  t.same(repeated({ strikes: [outage, ...cut(1, LEASE / 4 - 200)] }), ['10'], 'the link of another one was')
})

t.test('11. a process that was told to end, and cut a handler or lost an outcome, is found', async (t) => {
  const lives: History['lives'] = [
    { app: 0, from: -100, until: 200, end: 'exited' }, { app: 1, from: -100, until: 100_000, end: null }
  ]
  t.same(repeated({ lives }), ['11'])
  t.same(found([WORK, AGAIN], [run(0, 10, { ended: null, kept: false })], { lives }), ['11'])
  t.same(found([WORK, AGAIN], [run(0, 10)], { lives }), [])
  const full = strike('Redis full, for longer than a lease', { at: 120 })
  t.same(repeated({ lives, strikes: [full] }), [], 'nobody could hear of it')
})

t.test('12. a press that gets more than one answer, another than 200, or more than one run is found', async (t) => {
  const cut: Sent = { ...WORK, status: null, text: '', final: false }
  const refused: Sent = { ...AGAIN, status: 503, final: false }
  const conflict: Sent = { ...AGAIN, at: 120, status: 409, code: 'FST_IDEMPOTENCY_IN_PROGRESS', final: false }
  const later: Sent = { ...AGAIN, at: 900 }
  const owned = { try: 0, attempt: 1, asked: 1, at: 2, settling: 130, settled: 130 }
  const pressed = (sent: Sent[], more: Partial<History> = {}, work = [run(0, 5)]): string[] =>
    found(sent, work, { presses: [[0, 1]], ...more })
  t.same(pressed([cut, AGAIN]), [])
  t.same(pressed([cut, conflict, later], { runs: [owned] }), ['12'])
  t.same(pressed([cut, refused, later]), ['12'])
  t.same(pressed([cut, AGAIN], {}, [run(0, 5, { kept: false }), run(1, 410)]), ['12'])
  const excused = [
    strike('Redis full, for less than a lease'),
    strike('app frozen beyond its lease', { app: 1 }),
    strike('link to Redis cut', { app: 0, until: 160 }),
    strike('Redis frozen', { at: -LEASE - 500, until: -LEASE + 1 })
  ]
  for (const one of excused) t.same(pressed([cut, refused, later], { strikes: [one] }), [], one.kind)
  const longOver = strike('Redis frozen', { at: -LEASE - 500, until: -LEASE - 1 })
  t.same(pressed([cut, refused, later], { strikes: [longOver] }), ['12'], 'it was long over')
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
  const wentOn = (stood: Strike, aborted = false): string[] =>
    found([WORK], [run(0, 10, { ended: 2_000, aborted })], { strikes: [stood] })
  t.same(wentOn(still), ['14'])
  t.same(wentOn(still, true), [])
  t.same(wentOn({ ...still, until: 10 + LEASE }), [], 'its lease was not over')
  t.same(wentOn({ ...still, app: 1 }), [])
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
