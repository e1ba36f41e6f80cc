import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import {
  decode,
  encodeReleased,
  encodeRunning,
  RECORD_VERSIONS,
  STATE,
  timeToLive
} from '../../plugin/store/record.ts'
import { settledRecord } from './settled.ts'
import type { DecodedRecord, RecordVersion } from '../../plugin/store/record.ts'
import { RecordUnreadableError } from '../../plugin/store/store.ts'
import type { Claim, KeptResponse, OwnedClaim } from '../../plugin/store/store.ts'
import { holds } from './holds.ts'

const token = (length: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...'AZaz09-_'), minLength: length, maxLength: length })

const claims: fc.Arbitrary<Claim> = fc.record({
  owner: token(18),
  fingerprint: token(43),
  lease: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
  retention: fc.integer({ min: 1, max: 2 ** 47 }),
  takeOver: fc.boolean()
}, { noNullPrototype: true })

const versions = fc.constantFrom(...RECORD_VERSIONS)

const attempts = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 2 ** 32 - 1 }))

const owned: fc.Arbitrary<OwnedClaim> = fc.tuple(claims, attempts).map(([claim, attempt]) => ({ ...claim, attempt }))

const text = fc.oneof(fc.string({ unit: 'grapheme' }), fc.string({ unit: fc.constantFrom('\n', '\\', ':', 'n') }))
const name = fc.oneof(
  fc.string({ unit: fc.constantFrom(...'ax-\\\n'), minLength: 1 }),
  fc.constant('content-type')
)
type Header = KeptResponse['headers'][number]
const value = fc.oneof(
  text,
  fc.array(text, { minLength: 2 }),
  fc.constant(null),
  fc.constantFrom('application/json', 'application/json; charset=utf-8', 'text/plain; charset=utf-8', 'j', 't')
)
const responses: fc.Arbitrary<KeptResponse> = fc.record({
  headers: fc.uniqueArray(fc.oneof(fc.tuple(name, value), fc.constant<Header>([':text', null])), {
    selector: ([name]) => name
  }),
  body: fc.oneof(text, fc.uint8Array({ size: 'large' }).map(array => Buffer.from(array)))
}, { noNullPrototype: true })

/** As it comes from Redis. */
function read (record: string | Buffer): DecodedRecord {
  return decode(Buffer.from(record as string))
}

/** What a settled record has of the fingerprint. */
function ofSettled (fingerprint: string, version: RecordVersion): string {
  return version === 1 ? fingerprint : fingerprint.slice(0, 22)
}

/** With the body as bytes, as it comes back. */
function inBytes (response: KeptResponse | null): KeptResponse | null {
  return response && { ...response, body: Buffer.from(response.body as string) }
}

t.test('a running record is read as it was written', async (t) => {
  await holds(t, fc.property(claims, attempts, versions, (claim, attempt, version) => {
    assert.deepEqual(read(encodeRunning(claim, attempt, version)), {
      version,
      state: 'running',
      owner: claim.owner,
      fingerprint: claim.fingerprint,
      attempt,
      lease: claim.lease,
      timeToLive: timeToLive(claim),
      ownerLeft: false
    })
  }), 200)
})

t.test('a released record is read as it was written', async (t) => {
  await holds(t, fc.property(owned, versions, (owned, version) => {
    assert.deepEqual(read(encodeReleased(owned, version)), {
      version,
      state: 'released',
      owner: owned.owner,
      fingerprint: owned.fingerprint,
      attempt: owned.attempt,
      lease: owned.lease,
      timeToLive: timeToLive(owned),
      ownerLeft: false
    })
  }), 200)
})

t.test('a settled record is read as it was written, whatever its headers and its body are', async (t) => {
  await holds(
    t,
    fc.property(
      owned,
      fc.integer({ min: 100, max: 599 }),
      fc.option(responses),
      versions,
      (owned, statusCode, response, version) => {
        assert.deepEqual(read(settledRecord(owned, { statusCode, response }, version)), {
          version,
          state: 'settled',
          fingerprint: ofSettled(owned.fingerprint, version),
          attempt: owned.attempt,
          outcome: { statusCode, response: inBytes(response) },
          compression: null
        })
      }
    ),
    300
  )
})

t.test('a record that waits to be woken is read as a running one', async (t) => {
  await holds(t, fc.property(claims, attempts, versions, (claim, attempt, version) => {
    const record = encodeRunning(claim, attempt, version)
    assert.deepEqual(read(version + STATE.awaited + record.slice(2)), read(record))
  }), 50)
})

t.test('a record is remembered no shorter than its lease and its retention', async (t) => {
  await holds(t, fc.property(claims, (claim) => {
    assert.ok(timeToLive(claim) >= claim.lease)
    assert.ok(timeToLive(claim) >= claim.retention)
  }), 100)
})

const records = fc.oneof(
  fc.tuple(claims, attempts, versions).map(args => encodeRunning(...args)),
  fc.tuple(owned, versions).map(args => encodeReleased(...args)),
  fc.tuple(owned, fc.option(responses), versions)
    .map(([owned, response, version]) => settledRecord(owned, { statusCode: 200, response }, version))
).map(record => Buffer.from(record as string))

t.test('a record that was cut short is an error, or reads without what was cut off', async (t) => {
  let errors = 0
  let read = 0
  await holds(
    t,
    fc.property(records, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (record, share) => {
      const whole = decode(record)
      const part = attempt(() => decode(record.subarray(0, Math.floor(record.length * share))))
      if (part instanceof Error) {
        errors++
        return
      }
      read++
      assert.deepEqual({ ...part, outcome: null }, { ...whole, outcome: null }, 'nothing of its head is lost')
    }),
    500
  )
  t.ok(errors > 0 && read > 0, `both were tried: ${errors} errors, ${read} read`)
})

t.test('a running or released record that was cut short is always an error', async (t) => {
  await holds(
    t,
    fc.property(owned, fc.boolean(), fc.integer({ min: 0, max: 90 }), versions, (owned, released, length, version) => {
      const record = Buffer.from(
        released ? encodeReleased(owned, version) : encodeRunning(owned, owned.attempt, version)
      )
      assert.equal(record.length, 91)
      assert.throws(() => decode(record.subarray(0, length)))
    }),
    200
  )
})

t.test('what is no record is an error or a record, never a crash', async (t) => {
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    // Its head looks right, so that the rest is read.
    fc.tuple(
      versions,
      fc.constantFrom(...Object.values(STATE), '?'),
      fc.constantFrom('f'.repeat(51), 'f'.repeat(22)),
      fc.constantFrom('', '201\n\n', '2011\n\n', '2011,ff\n\n'),
      fc.oneof(
        fc.string({ unit: fc.constantFrom('0', 'a'), minLength: 30, maxLength: 60 }),
        fc.string({ unit: fc.constantFrom('0', 'a', '\n', 'x'), minLength: 40, maxLength: 200 })
      )
    ).map(parts => Buffer.from(parts.join('')))
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
  await holds(
    t,
    fc.property(
      records,
      fc.integer({ min: 0, max: 255 }).filter(byte => byte !== 0x31 && byte !== 0x32),
      (record, version) => {
        record[0] = version
        assert.throws(() => decode(record), RecordUnreadableError)
      }
    ),
    100
  )
})

t.test('a record in a state that does not exist is an error', async (t) => {
  const record = encodeRunning(
    { owner: 'o'.repeat(18), fingerprint: 'f'.repeat(43), lease: 1, retention: 1, takeOver: true },
    1,
    2
  )
  t.throws(() => read(`2x${record.slice(2)}`), RecordUnreadableError)
})

/*
 * The format is read by other releases during a rolling upgrade: if one of these tests fails, there must be one more
 * version.
 */
const GOLDEN: OwnedClaim = {
  owner: 'abcdefghijk0000001',
  fingerprint: `${'Aa0-_'.repeat(8)}xyz`,
  attempt: 0x01020304,
  lease: 30_000,
  retention: 86_400_000,
  takeOver: true
}
const HEAD = `${GOLDEN.fingerprint}01020304`
/** The beginning of a settled record, after its state and up to the status. */
const SETTLED_HEADS: Record<RecordVersion, (statusCode: number) => string> = {
  1: statusCode => `${HEAD}${statusCode}`,
  2: statusCode => `${GOLDEN.fingerprint.slice(0, 22)}${statusCode}1020304`
}
const TIMES = '00007530' + '00000526d130'
const RESPONSE: KeptResponse = {
  headers: [
    ['a', 'é'],
    ['b', ['1', '2']],
    ['c', null],
    ['d\n', '\\n\n'],
    ['content-type', 'application/json; charset=utf-8'],
    [':text', null]
  ],
  body: Buffer.from('00ff0a', 'hex')
}
const SOME_LINES = 'a:é\nb:1\nb:2\n:c\nd\\n:\\\\n\\n\n'
const LINES: Record<RecordVersion, string> = {
  1: `${SOME_LINES}content-type:application/json; charset=utf-8\n::text\n`,
  2: `${SOME_LINES}j\nt\n`
}
const OWNED = {
  fingerprint: GOLDEN.fingerprint,
  attempt: 0x01020304,
  owner: GOLDEN.owner,
  lease: 30_000,
  timeToLive: 86_430_000,
  ownerLeft: false
}

for (const version of RECORD_VERSIONS) {
  const settled = (response: KeptResponse | null, statusCode = 201): string | Buffer =>
    settledRecord(GOLDEN, { statusCode, response }, version)
  const decoded = (response: KeptResponse | null, statusCode = 201): DecodedRecord =>
    ({
      version,
      state: 'settled',
      fingerprint: ofSettled(GOLDEN.fingerprint, version),
      attempt: 0x01020304,
      outcome: { statusCode, response },
      compression: null
    })
  const head = SETTLED_HEADS[version]
  const records: Array<[what: string, record: string | Buffer, text: string | Buffer, decoded: DecodedRecord]> = [
    [
      'running',
      encodeRunning(GOLDEN, GOLDEN.attempt, version),
      `${version}r${HEAD}${GOLDEN.owner}${TIMES}`,
      { version, state: 'running', ...OWNED }
    ],
    [
      'released',
      encodeReleased(GOLDEN, version),
      `${version}f${HEAD}${GOLDEN.owner}${TIMES}`,
      { version, state: 'released', ...OWNED }
    ],
    [
      'settled',
      settled(RESPONSE),
      Buffer.concat([Buffer.from(`${version}s${head(201)}\n${LINES[version]}\n`), Buffer.from('00ff0a', 'hex')]),
      decoded(RESPONSE)
    ],
    ['settled, with text and no headers,', settled({ headers: [], body: '\n\nü' }), `${version}s${head(201)}\n\n\n\nü`,
      decoded({ headers: [], body: Buffer.from('\n\nü') })],
    ['settled, without a response,', settled(null, 599), `${version}n${head(599)}\n\n`, decoded(null, 599)]
  ]
  for (const [what, record, text, decoded] of records) {
    t.test(`a ${what} record of version ${version} is written and read like this`, async (t) => {
      t.same(record, text)
      t.strictSame(read(text), decoded)
    })
  }

  t.test(`a running record of version ${version} says behind its end that its owner’s client has left`, async (t) => {
    const record = encodeRunning(GOLDEN, 1, version)
    t.match(read(`${record}L`), { state: 'running', ownerLeft: true })
    t.match(read(`${version}${STATE.awaited}${record.slice(2)}L`), { state: 'running', ownerLeft: true })
    t.match(
      read(`${encodeReleased(GOLDEN, version)}L`),
      { state: 'released', ownerLeft: false },
      'once it is released nobody’s has'
    )
  })
}

t.test('a settled record whose status is no number is an error', async (t) => {
  for (const status of ['', '\n', '20\n', '20x\n', '2010', '-01\n']) {
    t.throws(() => read(`1s${HEAD}${status}\n\n`), RecordUnreadableError, JSON.stringify(status))
  }
})

const BEGINNING = GOLDEN.fingerprint.slice(0, 22)

t.test('a settled record of version 2 whose status, attempt or size is no number is an error', async (t) => {
  for (const numbers of [
    '', '201', '20', '20x1', '-011', '201-1', '201x', '2011x', '2011 ', '201123456789', '2011,', '2011,ff', '2011,x'
  ]) {
    t.throws(() => read(`2s${BEGINNING}${numbers}\n\n`), RecordUnreadableError, `plain: ${numbers}`)
  }
  for (const numbers of ['2011', '2011,', '2011,x', '2011,123456789', '201,ff']) {
    t.throws(() => read(`2b${BEGINNING}${numbers}\n\n`), RecordUnreadableError, `compressed: ${numbers}`)
  }
})

t.test('a compressed record of version 2 is written and read like this', async (t) => {
  for (const [algorithm, state] of [['brotli', 'b'], ['zstd', 'z']] as const) {
    const bytes = Buffer.from('00ff0a', 'hex')
    const compressed = { algorithm, size: 0x1f40, bytes }
    const response: KeptResponse = { headers: [[':text', null]], body: 'ü'.repeat(4_000) }
    const record = settledRecord({ ...GOLDEN, attempt: 10 }, { statusCode: 201, response }, 2, compressed)
    t.same(record, Buffer.concat([Buffer.from(`2${state}${BEGINNING}201a,1f40\nt\n\n`), bytes]))
    t.strictSame(read(record), {
      version: 2,
      state: 'settled',
      fingerprint: BEGINNING,
      attempt: 10,
      outcome: { statusCode: 201, response: { headers: [[':text', null]], body: bytes } },
      compression: { algorithm, size: 0x1f40 }
    })
    t.same(
      settledRecord(GOLDEN, { statusCode: 201, response }, 1, compressed),
      settledRecord(GOLDEN, { statusCode: 201, response }, 1),
      'version 1 has the body as it is'
    )
    t.throws(() => read(`1${state}${HEAD}201\n\n`), RecordUnreadableError)
  }
})

t.test('of a JSON response all but status and body takes 31 bytes, in version 2', async (t) => {
  const headers: KeptResponse['headers'] = [['content-type', 'application/json; charset=utf-8'], [':text', null]]
  const record = settledRecord({ ...GOLDEN, attempt: 1 }, { statusCode: 201, response: { headers, body: '{}' } }, 2)
  t.equal(record.length, '201'.length + '{}'.length + 31)
})

t.test('a header in a form that is not known is an error', async (t) => {
  t.throws(() => read(`2s${BEGINNING}2011\nx\n\n`), RecordUnreadableError)
})

t.test('the first attempt’s record of version 2 takes 31 bytes beside status and body if that is JSON', async (t) => {
  const headers: KeptResponse['headers'] = [['content-type', 'application/json; charset=utf-8'], [':text', null]]
  const outcome = { statusCode: 201, response: { headers, body: '{}' } }
  t.equal(settledRecord({ ...GOLDEN, attempt: 1 }, outcome, 2).length - '201'.length - '{}'.length, 31)
})

function attempt<T> (read: () => T): T | Error {
  try {
    return read()
  } catch (error) {
    if (error instanceof Error) return error
    throw new TypeError('what was thrown is not an Error', { cause: error })
  }
}
