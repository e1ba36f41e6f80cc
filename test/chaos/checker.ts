import { cite } from './cite.ts'
import { groupBy } from './group-by.ts'
import type { Evidence, History, Try } from './history.ts'
import { longestLock, ownersAtOnce } from './locks.ts'
import { committedOnce, completedOnce, nobodyRuns, pressedOnce, told } from './promises.ts'
import { LONGEST_AFTERMATH } from './settings.ts'

export interface Verdict {
  invariant: string
  /** The number of cases that the invariant was checked against. */
  cases: number
  /** Each text says what was seen, by keys, orders and tries. */
  violations: string[]
}

export interface Checked {
  verdicts: Verdict[]
  /** The longest time in milliseconds that a key stayed locked after its last owner had ended. */
  longestLock: number
}

/**
 * Holds what was seen against what is promised. A pure function: the same history and books get the same verdicts.
 * @param tolerance see `longestLock`
 */
export function check (history: History, evidence: Evidence, tolerance: number): Checked {
  const byKey = groupBy(history.tries, ({ key }) => key)
  const { alive, deployed } = completedOnce(history)
  const locks = longestLock(history, byKey, tolerance)
  return {
    verdicts: [
      chargedOnce(evidence),
      chargedIfSaid(history, evidence),
      answeredAlike(byKey),
      anotherBodyRefused(history),
      allAnswered(history, byKey),
      locks.verdict,
      ownersAtOnce(history),
      booksAgree(evidence),
      nonePaying(evidence),
      alive,
      deployed,
      pressedOnce(history),
      nobodyRuns(history, LONGEST_AFTERMATH),
      told(history),
      committedOnce(history, evidence)
    ],
    longestLock: locks.longest
  }
}

function chargedOnce ({ orders, payments, charges }: Evidence): Verdict {
  const violations: string[] = []
  const orderOf = new Map(payments.map(({ id, orderId }) => [id, orderId]))
  const charged = charges.filter(({ status }) => status === 'charged')
  const ledger = groupBy(charged, ({ number }) => orderOf.get(number))
  for (const { number } of ledger.get(undefined) ?? []) {
    violations.push(`charge ${number} is of no payment in the database`)
  }
  const done = groupBy(payments.filter(({ status }) => status === 'done'), ({ orderId }) => orderId)
  for (const { id } of orders) {
    const counts = [ledger.get(id)?.length ?? 0, done.get(id)?.length ?? 0]
    if (Math.max(...counts) > 1) {
      violations.push(`order ${id} was charged ${counts[0]} times in the ledger, ${counts[1]} times in the database`)
    }
  }
  return { invariant: '1. no order is charged more than once', cases: orders.length, violations }
}

/** There is no charge behind a refusal either. */
function chargedIfSaid ({ tries }: History, { charges, payments, orders }: Evidence): Verdict {
  const violations: string[] = []
  const charge = new Map(charges.map(charge => [charge.number, charge]))
  const payment = new Map(payments.map(payment => [payment.id, payment]))
  const knownOrders = new Set(orders.map(({ id }) => id))
  const declinedKeys = new Set<string>()
  let cases = 0
  for (const sent of tries) {
    if (sent.status === 402 && sent.body === 'own') declinedKeys.add(sent.key)
    if (sent.status === null || sent.status >= 300) continue
    if (sent.route !== 'create' && sent.route !== 'pay') continue
    cases++
    const { id, paymentId, orderId, amount } = read(sent.text)
    if (sent.route === 'create') {
      if (!knownOrders.has(id ?? '')) {
        violations.push(`${sent.key}: an order that is not in the database. ${cite([sent])}`)
      }
      continue
    }
    const [inLedger, inDatabase] = [charge.get(paymentId ?? ''), payment.get(paymentId ?? '')]
    if (
      inLedger?.status !== 'charged' ||
      inLedger.amount !== amount ||
      inDatabase?.status !== 'done' ||
      inDatabase.orderId !== orderId
    ) {
      violations.push(
        `${sent.key}: a receipt, and the ledger has ${inLedger?.status ?? 'nothing'}, ` +
          `the database ${inDatabase?.status ?? 'nothing'}. ${cite([sent])}`
      )
    }
  }
  for (const { id, key } of payments) {
    if (key !== null && declinedKeys.has(key) && charge.get(id)?.status === 'charged') {
      violations.push(`${key}: told that it was declined, and payment ${id} was charged`)
    }
  }
  return { invariant: '2. no 2xx without its charge, no 402 with one', cases: cases + declinedKeys.size, violations }
}

/** What an answer says about the order and the payment, or nothing if it is not an answer of the demo. */
function read (text: string): { id?: string, paymentId?: string, orderId?: string, amount?: number } {
  try {
    return JSON.parse(text) as ReturnType<typeof read>
  } catch {
    return {}
  }
}

/**
 * Of a key that has been answered for good, every final answer to its own request. Work without a journal may be done
 * again after its process has died: what holds of it is the tenth promise.
 */
function answeredAlike (byKey: Map<string, Try[]>): Verdict {
  const violations: string[] = []
  let cases = 0
  for (const [key, tries] of byKey) {
    const hasJournal = tries[0]?.route !== 'work' && tries[0]?.route !== 'wait'
    const finals = tries.filter(({ body, final }) => body === 'own' && final && hasJournal)
    if (!finals.some(({ status }) => status === 402 || (status !== null && status < 300))) continue
    cases += finals.length
    const first = finals[0] as Try
    const other = finals.find(({ status, text }) => status !== first.status || text !== first.text)
    if (other !== undefined) violations.push(`${key}: two different answers. ${cite([first, other])}`)
  }
  return { invariant: '3. all final answers of a key are the same bytes', cases, violations }
}

function anotherBodyRefused ({ tries }: History): Verdict {
  const others = tries.filter(({ body, final }) => body === 'another' && final)
  const violations = others
    .filter(({ status }) => status !== 422)
    .map(sent => `${sent.key}: another body was not refused. ${cite([sent])}`)
  return { invariant: '4. another body under a settled key is a 422', cases: others.length, violations }
}

function allAnswered ({ abandoned }: History, byKey: Map<string, Try[]>): Verdict {
  const gone = new Set(abandoned)
  const violations: string[] = []
  let cases = 0
  for (const [key, tries] of byKey) {
    if (gone.has(key)) continue
    cases++
    const last = tries.at(-1) as Try
    if (!last.final) violations.push(`${key}: ${tries.length} tries without a final answer. ${cite([last])}`)
  }
  return { invariant: '5. every client ends with a final answer', cases, violations }
}

function booksAgree ({ charges, payments }: Evidence): Verdict {
  const sum = (amounts: Array<{ amount: number }>): number => amounts.reduce((sum, { amount }) => sum + amount, 0)
  const [inLedger, inDatabase] = [
    sum(charges.filter(({ status }) => status === 'charged')),
    sum(payments.filter(({ status }) => status === 'done'))
  ]
  const violations =
    inLedger === inDatabase ? [] : [`${inLedger} charged in the ledger, ${inDatabase} captured in the database`]
  return { invariant: '8. ledger and database have the same sum', cases: 1, violations }
}

function nonePaying ({ orders }: Evidence): Verdict {
  const violations = orders.filter(({ status }) => status === 'paying').map(({ id }) => `order ${id} is left paying`)
  return { invariant: '9. no order is left paying', cases: orders.length, violations }
}
