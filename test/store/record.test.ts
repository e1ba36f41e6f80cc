import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { decode, encodeReleased, encodeRunning, encodeSettled, STATE, timeToLive, VERSION } from '../../plugin/store/record.ts'
import type { DecodedRecord } from '../../plugin/store/record.ts'
import type { Claim, KeptResponse, OwnedClaim } from '../../plugin/store/store.ts'
import { holds } from './holds.ts'

const bytes = (length: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map(array => Buffer.from(array))

const claims: fc.Arbitrary<Claim> = fc.record({
  owner: bytes(16),
  fingerprint: bytes(32),
  lease: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
  retention: fc.integer({ min: 1, max: 2 ** 47 })
}, { noNullPrototype: true })

const attempts = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 2 ** 32 - 1 }))

const owned: fc.Arbitrary<OwnedClaim> = fc.tuple(claims, attempts).map(([claim, attempt]) => ({ ...claim, attempt }))

const text = fc.string({ unit: 'grapheme' })
const responses: fc.Arbitrary<KeptResponse> = fc.record({
  headers: fc.array(fc.tuple(text, fc.oneof(text, fc.array(text), fc.constant(null)))),
  body: fc.uint8Array({ size: 'large' }).map(array => Buffer.from(array))
}, { noNullPrototype: true })

t.test('a running record is read as it was written', async (t) => {
  await holds(t, fc.property(claims, attempts, (claim, attempt) => {
    assert.deepEqual(decode(encodeRunning(claim, attempt)), {
      state: 'running',
      owner: claim.owner,
      fingerprint: claim.fingerprint,
      attempt,
      lease: claim.lease,
      timeToLive: timeToLive(claim)
    })
  }), 200)
})

t.test('a released record is read as it was written', async (t) => {
  await holds(t, fc.property(owned, (owned) => {
    assert.deepEqual(decode(encodeReleased(owned)), {
      state: 'released',
      owner: owned.owner,
      fingerprint: owned.fingerprint,
      attempt: owned.attempt,
      lease: owned.lease,
      timeToLive: timeToLive(owned)
    })
  }), 200)
})

t.test('a settled record is read as it was written, whatever its headers and its body are', async (t) => {
  await holds(t, fc.property(owned, fc.integer({ min: 100, max: 599 }), fc.option(responses), (owned, statusCode, response) => {
    assert.deepEqual(decode(encodeSettled(owned, { statusCode, response })), {
      state: 'settled',
      owner: owned.owner,
      fingerprint: owned.fingerprint,
      attempt: owned.attempt,
      outcome: { statusCode, response }
    })
  }), 300)
})

t.test('a record that waits to be woken is read as a running one', async (t) => {
  await holds(t, fc.property(claims, attempts, (claim, attempt) => {
    const record = encodeRunning(claim, attempt)
    const running = decode(record)
    record.write(STATE.awaited, 1, 'latin1')
    assert.deepEqual(decode(record), running)
  }), 50)
})

t.test('a record is remembered no shorter than its lease and its retention', async (t) => {
  await holds(t, fc.property(claims, (claim) => {
    assert.ok(timeToLive(claim) >= claim.lease)
    assert.ok(timeToLive(claim) >= claim.retention)
  }), 100)
})

const records = fc.oneof(
  fc.tuple(claims, attempts).map(([claim, attempt]) => encodeRunning(claim, attempt)),
  owned.map(encodeReleased),
  fc.tuple(owned, fc.option(responses)).map(([owned, response]) => encodeSettled(owned, { statusCode: 200, response }))
)

t.test('a record that was cut short is an error, or reads without what was cut off', async (t) => {
  let errors = 0
  let read = 0
  await holds(t, fc.property(records, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (record, share) => {
    const whole = decode(record)
    const part = attempt(() => decode(record.subarray(0, Math.floor(record.length * share))))
    if (part instanceof Error) {
      errors++
      return
    }
    read++
    assert.deepEqual({ ...part, outcome: null }, { ...whole, outcome: null }, 'nothing of its head is lost')
  }), 500)
  t.ok(errors > 0 && read > 0, `both were tried: ${errors} errors, ${read} read`)
})

t.test('a running or released record that was cut short is always an error', async (t) => {
  await holds(t, fc.property(owned, fc.boolean(), fc.integer({ min: 0, max: 63 }), (owned, released, length) => {
    const record = released ? encodeReleased(owned) : encodeRunning(owned, owned.attempt)
    assert.equal(record.length, 64)
    assert.throws(() => decode(record.subarray(0, length)))
  }), 200)
})

t.test('what is no record is an error or a record, never a crash', async (t) => {
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    // With a head that looks right, so that what follows is read.
    fc.tuple(fc.constantFrom(...Object.values(STATE), '?'), fc.uint8Array({ minLength: 40, maxLength: 200 }))
      .map(([state, rest]) => Buffer.concat([Buffer.of(VERSION, state.charCodeAt(0)), rest]))
  )
  const seen = new Set<string>()
  await holds(t, fc.property(garbage, (array) => {
    const result = attempt(() => decode(Buffer.from(array)))
    seen.add(result instanceof Error ? 'error' : result.state)
    assert.ok(result instanceof Error || ['running', 'released', 'settled'].includes(result.state))
  }), 1_000)
  t.ok(seen.has('error') && seen.has('running') && seen.has('released') && seen.has('settled'), [...seen].join(', '))
})

t.test('a record of another version is an error', async (t) => {
  await holds(t, fc.property(records, fc.integer({ min: 0, max: 255 }).filter(version => version !== VERSION), (record, version) => {
    record[0] = version
    assert.throws(() => decode(record), { message: 'The stored value is not an idempotency record of version 1' })
  }), 100)
})

t.test('a record in a state that does not exist is an error', async (t) => {
  const record = encodeRunning({ owner: Buffer.alloc(16), fingerprint: Buffer.alloc(32), lease: 1, retention: 1 }, 1)
  record.write('x', 1)
  t.throws(() => decode(record), { message: 'The stored idempotency record has an unknown state "x"' })
})

/*
 * The format is read by other releases during a rolling upgrade: if one of these tests fails, `VERSION` must grow.
 */
const GOLDEN: OwnedClaim = {
  owner: Buffer.from('000102030405060708090a0b0c0d0eff', 'hex'),
  fingerprint: Buffer.alloc(32, 0xfe),
  attempt: 0x01020304,
  lease: 30_000,
  retention: 86_400_000
}
const GOLDEN_HEAD = '000102030405060708090a0b0c0d0eff' + 'fe'.repeat(32) + '01020304'
const GOLDEN_TIMES = '00007530' + timeToLive(GOLDEN).toString(16).padStart(12, '0')
const RESPONSE: KeptResponse = { headers: [['a', 'é'], ['b', ['1', '2']], ['c', null]], body: Buffer.from('00ff0a', 'hex') }

t.test('the bytes of a running record of version 1', async (t) => {
  t.equal(encodeRunning(GOLDEN, GOLDEN.attempt).toString('hex'), '0172' + GOLDEN_HEAD + GOLDEN_TIMES)
})

t.test('the bytes of a released record of version 1', async (t) => {
  t.equal(encodeReleased(GOLDEN).toString('hex'), '0166' + GOLDEN_HEAD + GOLDEN_TIMES)
})

t.test('the bytes of a settled record of version 1', async (t) => {
  const headers = Buffer.from('[["a","é"],["b",["1","2"]],["c",null]]').toString('hex')
  t.equal(encodeSettled(GOLDEN, { statusCode: 201, response: RESPONSE }).toString('hex'), '0173' + GOLDEN_HEAD + '00c9' + '00000027' + headers + '00ff0a')
})

t.test('the bytes of a settled record of version 1 without a response', async (t) => {
  t.equal(encodeSettled(GOLDEN, { statusCode: 599, response: null }).toString('hex'), '016e' + GOLDEN_HEAD + '0257' + '00000000')
})

t.test('a stored record of version 1 is read by this release', async (t) => {
  const times = '00007530' + '000005265c00'
  const claim = { owner: GOLDEN.owner, fingerprint: GOLDEN.fingerprint, attempt: 0x01020304 }
  const read = (hex: string): DecodedRecord => decode(Buffer.from(hex, 'hex'))
  t.strictSame(read('0172' + GOLDEN_HEAD + times), { state: 'running', ...claim, lease: 30_000, timeToLive: 86_400_000 })
  t.strictSame(read('0177' + GOLDEN_HEAD + times), { state: 'running', ...claim, lease: 30_000, timeToLive: 86_400_000 })
  t.strictSame(read('0166' + GOLDEN_HEAD + times), { state: 'released', ...claim, lease: 30_000, timeToLive: 86_400_000 })
  const headers = Buffer.from('[["a","é"],["b",["1","2"]],["c",null]]')
  t.strictSame(read('0173' + GOLDEN_HEAD + '00c9' + '00000027' + headers.toString('hex') + '00ff0a'), {
    state: 'settled', ...claim, outcome: { statusCode: 201, response: RESPONSE }
  })
  t.strictSame(read('016e' + GOLDEN_HEAD + '0257' + '00000000'), {
    state: 'settled', ...claim, outcome: { statusCode: 599, response: null }
  })
})

function attempt<T> (read: () => T): T | Error {
  try {
    return read()
  } catch (error) {
    if (error instanceof Error) return error
    throw new TypeError('what was thrown is not an Error', { cause: error })
  }
}
