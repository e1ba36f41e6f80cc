import t from 'tap'
import { fault, inARow } from './aimed.ts'
import type { Aimed } from './aimed.ts'
import { build } from './build.ts'
import type { Patch } from './build.ts'
import type { Verdict } from './checker.ts'
import { run } from './run.ts'
import type { PlannedPayment } from './schedule.ts'

// A checker that finds nothing in a service that is broken on purpose would be worth nothing. Each variant here is the
// real service with one change, and is struck by the faults that the changed place is there for.
t.setTimeout(900_000)

const SEED = 1
const APPS = 2

interface Variant {
  name: string
  patch: Patch
  payments: PlannedPayment[]
  /** The invariant that must be found broken, by its number. */
  breaks: number
  /** Milliseconds for which a client goes on without a final answer. Default 6 000. */
  timeToFinish?: number
}

const VARIANTS: Variant[] = [
  {
    // Receipts alone would not show it: the demo's database remembers operations, and makes the same receipt again.
    // What it cannot make again is the refusal of another body.
    name: 'with the journal off, another body is not refused any more when Redis was emptied',
    patch: { file: 'demo-app/app.ts', replace: 'journal: postgresJournal(app.pg)', by: 'journal: (entries => ({ ...postgresJournal(app.pg), record: async (_tx, id, entry) => { entries.set(id, entry) }, find: async id => { const entry = entries.get(id) ?? null; entries.delete(id); return entry } }))(new Map())' },
    payments: inARow({ client: 'sends another body' }, { fault: fault('Redis killed, back empty') }),
    breaks: 4
  },
  {
    name: 'with a take-over that does not look at the lease, a key has two owners',
    patch: { file: 'plugin/store/scripts.ts', replace: 'if left > 0 then', by: 'if false then' },
    payments: inARow(...Array.from({ length: 3 }, (): Aimed => ({ client: 'disconnects', fault: fault('provider is slow', { milliseconds: 900 }) }))),
    breaks: 7
  },
  {
    name: 'with a lease that never ends, the key of a dead owner stays locked',
    patch: { file: 'plugin/store/scripts.ts', replace: 'if left > 0 then', by: 'if true then' },
    payments: inARow({ fault: fault('app killed after claim', { boundary: 'after claim' }) }),
    breaks: 6,
    timeToFinish: 10_000
  },
  {
    name: 'without the fingerprint, another body gets the receipt',
    patch: { file: 'plugin/store/redis.ts', replace: "if (found.fingerprint !== fingerprint) return { state: 'mismatch' }", by: '' },
    payments: inARow({ client: 'sends another body' }),
    breaks: 4
  },
  {
    name: 'with a number of its own for each charge, a retry charges again',
    patch: { file: 'demo-app/provider.ts', replace: 'number: id, amount, currency', by: 'number: id.slice(0, 24) + String(Date.now()).slice(-12), amount, currency' },
    payments: inARow({ fault: fault('app killed after charge', { boundary: 'after charge' }) }),
    breaks: 1
  },
  {
    name: 'with a provider that is taken at its silence, there is a receipt without a charge',
    patch: { file: 'demo-app/provider.ts', replace: "default:\n        return { status: 'unknown' }", by: "default:\n        return { status: 'done', tradeNo: null }" },
    payments: inARow({ fault: fault('provider fails') }),
    breaks: 2
  }
]

for (const { name, patch, payments, breaks, timeToFinish = 6_000 } of VARIANTS) {
  t.test(name, async (t) => {
    const { checked } = await run(payments, { seed: SEED, apps: APPS, clients: 1, timeToFinish, patches: [patch] })
    const { invariant, violations } = checked.verdicts[breaks - 1] as Verdict
    t.ok(violations.length > 0, invariant)
    t.comment(violations[0] ?? 'nothing was found')
  })
}

t.test('without a change, the same payments and faults break nothing', async (t) => {
  const payments = VARIANTS.flatMap(({ payments }) => payments).map((payment, index) => ({ ...payment, index }))
  const { checked, history } = await run(payments, { seed: SEED, apps: APPS, clients: 1 })
  for (const { invariant, violations } of checked.verdicts) t.same(violations, [], invariant)
  t.equal(history.strikes.length, payments.filter(({ fault }) => fault !== null).length)
})

t.test('a variant whose place to change is gone, or is not the only one, is refused', async (t) => {
  t.throws(() => build([{ file: 'plugin/store/scripts.ts', replace: 'no such line', by: '' }]), /plugin\/store\/scripts\.ts has 0 places to patch, not one: no such line/)
  t.throws(() => build([{ file: 'demo-app/provider.ts', replace: 'return', by: '' }]), /has \d\d? places to patch/)
  t.throws(() => build([{ file: 'plugin/no-such-file.ts', replace: 'x', by: '' }]), { code: 'ENOENT' })
})
