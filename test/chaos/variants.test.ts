import t from 'tap'
import { fault, inARow, inHandler } from './aimed.ts'
import type { Aimed } from './aimed.ts'
import { build } from './build.ts'
import type { Patch } from './build.ts'
import type { Verdict } from './checker.ts'
import { run } from './run.ts'
import type { PlannedPayment, PlannedWork } from './schedule.ts'
import { LONG_WORK, OUTAGES } from './settings.ts'

// A checker that finds nothing in a service that is broken on purpose would be worthless. Each variant here is the real
// service with one change, and the faults that the changed code exists for strike it.
t.setTimeout(900_000)

const SEED = 1
const APPS = 2

const LONG = OUTAGES['for longer than a lease'][1]

function workOf (client: PlannedWork['client'], work: Partial<PlannedWork> = {}): Aimed {
  return { leavesAfter: 50, work: { route: 'work', client, takes: 2_500, size: 0, fails: 0, ...work } }
}

/** The place where a script checks whether a lease is over. */
const OVER = "if left > 0 or string.sub(ARGV[2], 1, 1) == '0' then"

interface Variant {
  name: string
  patch: Patch
  payments: PlannedPayment[]
  /** The number of the invariant that must be found broken. */
  breaks: number
  /** Milliseconds for which a client goes on without a final answer. Default 6 000. */
  timeToFinish?: number
}

const VARIANTS: Variant[] = [
  {
    // Receipts alone would not show it: the demo's database remembers operations, and makes the same receipt again. It
    // cannot, however, make the refusal of another body again.
    name: 'with the journal off, another body is not refused any more when Redis was emptied',
    patch: {
      file: 'demo-app/app.ts',
      replace: 'journal: postgresJournal(app.pg)',
      by: 'journal: (entries => ({ ...postgresJournal(app.pg), ' +
        'record: async (_tx, id, entry) => { entries.set(id, entry) }, ' +
        'find: async id => { const entry = entries.get(id) ?? null; entries.delete(id); return entry } }))(new Map())'
    },
    payments: inARow({ client: 'sends another body' }, { fault: fault('Redis killed, back empty') }),
    breaks: 4
  },
  {
    name: 'with a take-over that does not look at the lease, a key has two owners',
    patch: { file: 'plugin/store/scripts.ts', replace: OVER, by: 'if false then' },
    payments: inARow(
      ...Array.from({ length: 3 }, (): Aimed => ({
        client: 'disconnects',
        fault: fault('provider is slow', { milliseconds: 900 })
      }))
    ),
    breaks: 7
  },
  {
    name: 'with a lease that never ends, the key of a dead owner stays locked',
    patch: { file: 'plugin/store/scripts.ts', replace: OVER, by: 'if true then' },
    payments: inARow({ fault: fault('app killed after claim', { boundary: 'after claim' }) }),
    breaks: 6,
    timeToFinish: 25_000
  },
  {
    name: 'without the fingerprint, another body gets the receipt',
    patch: {
      file: 'plugin/store/redis.ts',
      replace: "if (!fingerprint.startsWith(found.fingerprint)) return { state: 'mismatch' }",
      by: ''
    },
    payments: inARow({ client: 'sends another body' }),
    breaks: 4
  },
  {
    name: 'with a number of its own for each charge, a retry charges again',
    patch: {
      file: 'demo-app/provider.ts',
      replace: 'number: id, amount, currency',
      by: 'number: id.slice(0, 24) + String(Date.now()).slice(-12), amount, currency'
    },
    payments: inARow({ fault: fault('app killed after charge', { boundary: 'after charge' }) }),
    breaks: 1
  },
  {
    name: 'with a provider that is taken at its silence, there is a receipt without a charge',
    patch: {
      file: 'demo-app/provider.ts',
      replace: "default:\n        return { status: 'unknown' }",
      by: "default:\n        return { status: 'done', tradeNo: null }"
    },
    payments: inARow({ fault: fault('provider fails') }),
    breaks: 2
  },
  {
    name: 'without outcomes that are kept until Redis takes them, a completed run is repeated',
    patch: {
      file: 'plugin/core/finish.ts',
      replace: 'engine.retryQueue.keep({ owner, owned, outcome, stored }, error)',
      by: 'void stored'
    },
    payments: inARow(inHandler('Redis read-only, for longer than a lease', LONG)),
    breaks: 10
  },
  {
    // Which client comes first when Redis is back is a matter of chance.
    name: 'without hesitation after an outage, a lease is taken over before its owner could be heard',
    patch: {
      file: 'plugin/core/store-contact.ts',
      replace: 'return Math.max(0, afterOutage, afterSilence)',
      by: 'return 0'
    },
    payments: inARow(...Array.from({ length: 8 }, () =>
      inHandler('Redis without its replicas, for longer than a lease', LONG))),
    breaks: 10
  },
  {
    name: 'when closing does not wait for those who own a key, a handler is cut',
    patch: {
      file: 'plugin/core/leases.ts',
      replace: 'if (now >= until || !left.some(({ isWatched }) => isWatched)) return left',
      by: 'return left'
    },
    payments: inARow(inHandler('app deployed while its client has left')),
    breaks: 11
  },
  {
    name: 'when duplicates are refused though the owner’s client has left, who pressed once is told of a conflict',
    patch: { file: 'plugin/core/hold-policy.ts', replace: "(onConflict === 'auto' && ownerLeft)", by: 'false' },
    payments: inARow(workOf('re-sends by itself')),
    breaks: 12
  },
  {
    name: 'when the other processes are not told that the owner’s client has left, they tell of a conflict',
    patch: {
      file: 'plugin/request/run.ts',
      replace: 'store.markLeft(this.id, this.owned)',
      by: 'Promise.resolve(store)'
    },
    payments: inARow(workOf('re-sends by itself')),
    breaks: 12
  },
  {
    name: 'when nobody looks whether those who wait have left, the handler runs for nobody',
    patch: {
      file: 'plugin/request/contender.ts',
      replace: 'get client (): Client {\n    return this',
      by: 'get client (): Client | null {\n    return null'
    },
    payments: inARow(workOf('leaves while it waits', { route: 'wait', takes: LONG_WORK, fails: 1 })),
    breaks: 13
  },
  {
    // The timer that renews leases may be the first to continue, and may report in time.
    name: 'with a signal that does not look at the clock, who was frozen is not told',
    patch: {
      file: 'plugin/core/ownership.ts',
      replace: 'performance.now() - this.leaseStartedAt >= lease',
      by: 'lease < 0'
    },
    payments: inARow(...Array.from({ length: 4 }, () => inHandler('app frozen beyond its lease', 0, { takes: 60 }))),
    breaks: 14
  },
  {
    name: 'when an answer is taken for a recorded one since it is equal, a failed commit is answered as done',
    patch: {
      file: 'plugin/request/decide.ts',
      replace: 'if (entry === null) return',
      by: "if (payload === journalled?.body) return { end: 'journalled', journalled }\n  if (entry === null) return"
    },
    payments: inARow(...Array.from({ length: 3 }, () =>
      inHandler('Postgres fails to commit, for less than a lease', 900))),
    breaks: 15
  }
]

// Several at once: most of the time each waits for something to be over.
t.jobs = 3

for (const { name, patch, payments, breaks, timeToFinish = 6_000 } of VARIANTS) {
  t.test(name, { buffered: true }, async (t) => {
    const { checked } = await run(payments, { seed: SEED, apps: APPS, clients: 1, timeToFinish, patches: [patch] })
    const { invariant, violations } = checked.verdicts[breaks - 1] as Verdict
    t.ok(violations.length > 0, invariant)
    t.comment(violations[0] ?? 'nothing was found')
  })
}

t.test('without a change, the same payments and faults break nothing', { buffered: true }, async (t) => {
  const payments = VARIANTS
    .flatMap(({ payments }) => payments.slice(0, 2))
    .map((payment, index) => ({ ...payment, index }))
  const { checked, history } = await run(payments, { seed: SEED, apps: APPS, clients: 3 })
  for (const { invariant, violations } of checked.verdicts) t.same(violations, [], invariant)
  t.equal(history.strikes.length, payments.filter(({ fault }) => fault !== null).length, 'all faults have struck')
})

t.test('a variant whose place to change is gone, or is not the only one, is refused', async (t) => {
  await t.rejects(
    build([{ file: 'plugin/store/scripts.ts', replace: 'no such line', by: '' }]),
    /plugin\/store\/scripts\.ts has 0 places to patch, not one: no such line/
  )
  await t.rejects(build([{ file: 'demo-app/provider.ts', replace: 'return', by: '' }]), /has \d\d? places to patch/)
  await t.rejects(build([{ file: 'plugin/no-such-file.ts', replace: 'x', by: '' }]), { code: 'ENOENT' })
})
