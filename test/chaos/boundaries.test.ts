import t from 'tap'
import { fault, inARow } from './aimed.ts'
import { BOUNDARIES } from './faults.ts'
import type { Boundary } from './faults.ts'
import type { Try } from './history.ts'
import { run } from './run.ts'

// One payment for each place at which an app can die, one after the other, and one for each server that crashes.
t.setTimeout(900_000)

const CRASHES = ['Postgres crashed and restarted', 'Redis killed, back empty'] as const
const payments = inARow(
  ...BOUNDARIES.map(boundary => ({ fault: fault(`app killed ${boundary}`, { boundary }) })),
  ...CRASHES.map(kind => ({ fault: fault(kind) })))

const { history, evidence, checked } = await run(payments, { seed: 1, apps: 2, clients: 1 })

interface Story {
  /** All tries until the final answer. The first got none, because its app died. */
  tries: Try[]
  answer: Try
  /** The runs that owned the key, in their order. */
  attempts: number[]
  /** How often the provider charged. */
  charged: number
}

function storyOf (index: number): Story {
  const sent = history.tries.filter(({ key }) => key === `pay-${index}`)
  const tries = sent.slice(0, sent.findIndex(({ final }) => final) + 1)
  const ids = new Set(tries.map(({ id }) => id))
  const numbers = new Set(evidence.payments.filter(({ key }) => key === `pay-${index}`).map(({ id }) => id))
  return {
    tries,
    answer: tries.at(-1) as Try,
    attempts: history.runs.filter(run => ids.has(run.try)).map(({ attempt }) => attempt),
    charged: evidence.charges.filter(({ number, status }) => numbers.has(number) && status === 'charged').length
  }
}

/** Whether the second owner of the key ran the handler. If not, the answer was stored already. */
const CASES: Array<[name: string, boundary: Boundary, attempts: number[], replayed: boolean]> = [
  [
    'an app killed after it claimed the key: a 409 until its lease is over, then the retry charges',
    'after claim',
    [1, 2],
    false
  ],
  [
    'an app killed in its transaction: what it wrote is rolled back, the retry finds the charge and settles it',
    'in transaction',
    [1, 2],
    false
  ],
  ['an app killed after the provider charged: the retry asks, and charges nothing', 'after charge', [1, 2], false],
  [
    'an app killed after its commit: the retry gets the committed answer, and nothing runs',
    'after commit',
    [1, 2],
    true
  ],
  ['an app killed after it stored the answer: the retry gets it at once', 'after completion', [1], true],
  ['an app killed before its response left: the retry gets the stored answer at once', 'before response', [1], true]
]

for (const [name, boundary, attempts, replayed] of CASES) {
  t.test(name, async (t) => {
    const story = storyOf(BOUNDARIES.indexOf(boundary))
    t.equal(history.strikes.filter(({ kind }) => kind === `app killed ${boundary}`).length, 1)
    t.equal(story.tries[0]?.status, null, 'the first try got no answer')
    t.equal(story.answer.status, 200)
    t.equal(story.answer.replayed, replayed)
    t.same(story.attempts, attempts)
    t.equal(story.charged, 1)
    const between = story.tries.slice(1, -1).filter(({ status }) => status !== null)
    t.ok(
      between.every(({ code }) => code === 'FST_IDEMPOTENCY_IN_PROGRESS'),
      'until then it was in progress, or not answered'
    )
    if (attempts.length === 1) t.equal(between.length, 0, 'no lease is waited for')
  })
}

t.test('Postgres crashes while an order is made and paid: what fails can be tried again, ' +
  'and in the end there is one charge', async (t) => {
  const index = BOUNDARIES.length + CRASHES.indexOf('Postgres crashed and restarted')
  const unanswered = history.tries.filter(({ key, final }) => key === `order-${index}` && !final)
  t.ok(unanswered.length > 0)
  t.ok(unanswered.every(({ status }) => status === null || status >= 500))
  const { answer, charged } = storyOf(index)
  t.equal(answer.status, 200)
  t.equal(charged, 1)
})

t.test('Redis comes back empty: all answers that were given are given again', async (t) => {
  const emptied = history.strikes.find(({ kind }) => kind === 'Redis killed, back empty')
  const before = history.tries.filter(({ final, end }) => final && end < (emptied?.at ?? 0))
  t.ok(before.length >= 2 * BOUNDARIES.length)
  for (const { key, text } of before) t.equal(history.tries.findLast(sent => sent.key === key)?.text, text, key)
})

t.test('all promises are kept', async (t) => {
  for (const { invariant, violations } of checked.verdicts) t.same(violations, [], invariant)
})
