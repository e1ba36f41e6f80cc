import { FAULT_KINDS } from './faults.ts'
import { groupBy } from './group-by.ts'
import type { Result } from './run.ts'
import { table } from './table.ts'

/** The number of violations that are shown for each invariant. */
const SHOWN = 10

export function report ({ planned, history, checked, took }: Result): string {
  const scheduled = groupBy(planned.flatMap(({ fault }) => fault?.kind ?? []), kind => kind)
  const struck = groupBy(history.strikes, ({ kind }) => kind)
  const faults = FAULT_KINDS.map(kind => [
    kind,
    String(scheduled.get(kind)?.length ?? 0),
    String(struck.get(kind)?.length ?? 0)
  ])
  const clients = groupBy(planned, ({ client }) => client)
  const violations = checked.verdicts.flatMap(({ invariant, violations }) => [
    ...violations.slice(0, SHOWN).map(violation => `${invariant}\n    ${violation}`),
    ...(violations.length > SHOWN ? [`${invariant}\n    … and ${violations.length - SHOWN} more`] : [])
  ])
  return [
    table(
      ['fault', 'scheduled', 'struck'],
      [
        ...faults,
        ['all', String(planned.filter(({ fault }) => fault !== null).length), String(history.strikes.length)]
      ]
    ),
    table(['client', 'payments'], [...clients].map(([client, { length }]) => [client, String(length)])),
    table(['invariant', 'cases', 'violations', ''], checked.verdicts.map(({ invariant, cases, violations }) => [
      invariant, String(cases), String(violations.length), violations.length === 0 ? 'held' : 'BROKEN'
    ])),
    `${planned.length} payments, ${history.tries.length} requests, ${history.runs.length} runs of ` +
      `handlers, ${history.lives.length} app processes, in ${(took / 1_000).toFixed(0)} s.`,
    'The longest that a key stayed locked ' +
      `after its last owner had ended: ${(checked.longestLock / 1_000).toFixed(2)} s, ` +
      `with a lease of ${history.lease / 1_000} s.`,
    ...violations
  ].join('\n\n')
}
