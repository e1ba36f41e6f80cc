import t from 'tap'
import { BOUNDARIES, FAULT_KINDS } from './faults.ts'
import type { FaultKind } from './faults.ts'
import { report } from './report.ts'
import { run } from './run.ts'
import { schedule } from './schedule.ts'

// A short run of `npm run test:chaos`. On a busy machine it takes longer than a test usually may.
t.setTimeout(900_000)

// These faults wait for a request, and another fault may strike that request: test/chaos/boundaries covers each for
// certain.
const WAIT = FAULT_KINDS.filter(kind => BOUNDARIES.some(boundary => kind === `app killed ${boundary}`))
// These faults count only if a handler runs in the process when they strike, and if no other fault strikes it
// meanwhile.
const often = (name: string, times: number): FaultKind[] =>
  Array.from({ length: times }, () => FAULT_KINDS.filter(kind => kind.startsWith(name))).flat()
const KINDS = [...FAULT_KINDS, ...often('app deployed', 5), ...often('app frozen', 3), ...often('app stopped', 1)]
const OPTIONS = { seed: 20_250_101, payments: 150, faults: KINDS.length, apps: 3, kinds: KINDS }

t.test('payments are charged once and answered alike while everything that they depend on is broken', async (t) => {
  const result = await run(schedule(OPTIONS), { seed: OPTIONS.seed, apps: OPTIONS.apps, clients: 32 })
  t.comment(report(result))
  for (const { invariant, cases, violations } of result.checked.verdicts) {
    t.same(violations, [], invariant)
    t.ok(cases > 0, `${invariant}: there were cases`)
  }
  const struck = new Set(result.history.strikes.map(({ kind }) => kind))
  t.same(FAULT_KINDS.filter(kind => !struck.has(kind) && !WAIT.includes(kind)), [], 'every kind of fault has struck')
  t.ok(WAIT.some(kind => struck.has(kind)))
  t.ok(result.history.tries.filter(({ status }) => status === 200).length > OPTIONS.payments)
})
