import t from 'tap'
import { FAULT_KINDS, orderOf } from './faults.ts'
import type { Fault } from './faults.ts'
import { CLIENT_KINDS, schedule } from './schedule.ts'
import type { PlannedPayment } from './schedule.ts'

const OPTIONS = { seed: 7, payments: 1_000, faults: 10 * FAULT_KINDS.length, apps: 3 }

function faultsOf (planned: PlannedPayment[]): Fault[] {
  return planned.flatMap(({ fault }) => fault ?? [])
}

t.test('the schedule is the same for the same seed, and another one for another', async (t) => {
  const text = (seed: number): string => JSON.stringify(schedule({ ...OPTIONS, seed }))
  t.equal(text(7), text(7))
  t.not(text(8), text(7))
})

t.test('there are as many faults as asked for, each kind as often as any other', async (t) => {
  const faults = faultsOf(schedule(OPTIONS))
  t.equal(faults.length, OPTIONS.faults)
  for (const kind of FAULT_KINDS) {
    t.equal(faults.filter(fault => fault.kind === kind).length, OPTIONS.faults / FAULT_KINDS.length, kind)
  }
})

t.test('the faults come all the time: one in each stretch of payments', async (t) => {
  const planned = schedule(OPTIONS)
  for (let i = 0; i < 20; i++) t.equal(faultsOf(planned.slice(i * 50, (i + 1) * 50)).length, OPTIONS.faults / 20)
})

t.test('every payment can have a fault, and none has two', async (t) => {
  t.equal(faultsOf(schedule({ ...OPTIONS, payments: OPTIONS.faults })).length, OPTIONS.faults)
  t.equal(faultsOf(schedule({ ...OPTIONS, payments: OPTIONS.faults + 80 })).length, OPTIONS.faults)
  t.equal(faultsOf(schedule({ ...OPTIONS, faults: 0 })).length, 0)
})

t.test('all apps are struck, and an app falls at the boundary that the kind of the fault names', async (t) => {
  const faults = faultsOf(schedule(OPTIONS))
  t.same([...new Set(faults.map(({ app }) => app))].sort(), [0, 1, 2])
  const orders = new Map<string, Set<string>>()
  for (const fault of faults) {
    const order = orderOf(fault)
    orders.set(
      fault.kind,
      (orders.get(fault.kind) ?? new Set()).add(order === null ? 'none' : `${order.action} ${order.boundary}`)
    )
  }
  for (const [kind, given] of orders) {
    if (kind === 'app stopped beyond its lease') {
      t.ok(given.size > 1 && [...given].every(order => order.startsWith('stop ')))
    } else {
      t.same([...given], [/^app killed (?!at random)/.test(kind) ? kind.replace('app killed', 'kill') : 'none'], kind)
    }
  }
})

t.test('clients of all kinds take part, most of them plain', async (t) => {
  const planned = schedule(OPTIONS)
  const clients = planned.map(({ client }) => client)
  for (const kind of CLIENT_KINDS) t.ok(clients.includes(kind), kind)
  t.ok(clients.filter(client => client === 'is plain').length > OPTIONS.payments * 0.7, 'most are plain')
  const left = planned.filter(({ client }) => client === 'abandons')
  t.same(
    new Set(left.map(({ fault }) => fault?.kind)),
    new Set(['app killed after charge']),
    'somebody else has to settle what was charged'
  )
})

t.test('no amount is one that the sandbox always declines', async (t) => {
  const amounts = schedule({ ...OPTIONS, payments: 5_000 }).map(({ amount }) => amount)
  t.same(amounts.filter(amount => !Number.isInteger(amount) || amount < 1 || amount % 100 === 2), [])
})
