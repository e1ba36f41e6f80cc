import fc from 'fast-check'
import t from 'tap'
import { Operation } from '../../plugin/client/operation.ts'
import { readOptions } from '../../plugin/client/options.ts'
import { backOff, isGathered, judge, readRetryAfter } from '../../plugin/client/policy.ts'

t.test('the wait before a try is anything up to a bound, which doubles until it has reached its limit', async (t) => {
  const delays = { firstDelay: 100, maxDelay: 1_000 }
  for (const [tries, bound] of [
    [1, 100],
    [2, 200],
    [3, 400],
    [4, 800],
    [5, 1_000],
    [60, 1_000],
    [5_000, 1_000]
  ] as const) {
    const waits = Array.from({ length: 2_000 }, () => backOff(tries, delays))
    t.ok(waits.every(wait => wait >= 0 && wait < bound), `try ${tries}: below ${bound}`)
    // With 2000 draws, a tenth of the range stays empty in none of 10^90 runs.
    for (let tenth = 0; tenth < 10; tenth++) {
      t.ok(waits.some(wait => Math.floor(wait / bound * 10) === tenth), `try ${tries}: some in tenth ${tenth}`)
    }
  }
})

t.test('Retry-After is read as seconds or any of the three forms of a date; anything else is ignored', async (t) => {
  const date = 'Sun, 06 Nov 1994 08:49:37 GMT'
  t.equal(readRetryAfter('0', null), 0)
  t.equal(readRetryAfter('120', date), 120_000)
  t.equal(readRetryAfter('Sun, 06 Nov 1994 08:49:47 GMT', date), 10_000)
  t.equal(readRetryAfter('Sunday, 06-Nov-94 08:49:47 GMT', date), 10_000)
  t.equal(readRetryAfter('Sun Nov  6 08:49:47 1994 GMT', date), 10_000)
  t.equal(readRetryAfter('Sun, 06 Nov 1994 08:49:27 GMT', date), 0, 'a time that is over')
  for (const value of [null, '', '-1', '1.5', '1e3', 'soon', '120, 60', 'Sun, 99 Nov 1994 08:49:37 GMT']) {
    t.equal(readRetryAfter(value, date), null, String(value))
  }
})

t.test('without a Date of the server, a date is read by the clock of this machine', async (t) => {
  for (const date of [null, 'yesterday']) {
    const wait = readRetryAfter(new Date(Date.now() + 60_000).toUTCString(), date) ?? NaN
    t.ok(wait > 50_000 && wait <= 60_000, `${wait} ms`)
  }
})

t.test('a Retry-After that asks for less than the back-off does not end it', async (t) => {
  const settings = readOptions({ firstDelay: 100, maxDelay: 10_000 })
  const waits = (retryAfter: string): number[] => Array.from({ length: 200 }, () => {
    const operation = new Operation('k', settings)
    let wait = 0
    for (let tries = 1; tries <= 10; tries++) {
      operation.begin()
      wait =
        operation.answered({
          ...conflict(null),
          status: 429,
          header: name => (name === 'retry-after' ? retryAfter : null),
          original: null
        }) ?? NaN
    }
    return wait
  })
  for (const retryAfter of ['0', 'Sun, 06 Nov 1994 08:49:37 GMT']) {
    // By the tenth try the delay is up to 10 s, of which one in a hundred is below the first delay: not 200 in a row.
    t.ok(Math.max(...waits(retryAfter)) > 1_000, retryAfter)
  }
  t.ok(waits('2').every(wait => wait >= 2_000), 'and what asks for more is waited for')
})

t.test('whatever a 409 carries, it is final unless it says in so many words that it can be retried', async (t) => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json(), fc.constant(null)), (body) => {
    const parsed = ((): unknown => {
      try { return JSON.parse(body ?? '') } catch { return null }
    })()
    const { retryable, code } = Object(parsed) as { retryable?: unknown, code?: unknown }
    const isRetried = retryable === true || (code === 'FST_IDEMPOTENCY_IN_PROGRESS' && retryable !== false)
    return judge(conflict(body)) === (isRetried ? 'uncertain' : 'final')
  }))
  t.equal(judge(conflict('{"retryable":true}')), 'uncertain')
  t.equal(judge(conflict('{"retryable":"true"}')), 'final')
})

t.test('an event stream is not waited for, and neither is what needed no key', async (t) => {
  t.ok(isGathered(200, 'k', 'application/json'))
  t.notOk(isGathered(200, 'k', 'text/event-stream; charset=utf-8'))
  t.notOk(isGathered(200, null, 'application/json'))
  t.ok(isGathered(503, null, 'application/json'), 'to leave the connection free')
})

function conflict (body: string | null): Parameters<typeof judge>[0] {
  return { status: 409, header: () => null, body: () => body }
}
