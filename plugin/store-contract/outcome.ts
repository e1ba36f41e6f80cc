import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { KeptResponse, Outcome } from '../store/store.ts'
import { aCase } from './case.ts'
import type { StoreCase, World } from './case.ts'
import { isRecord, isSettled } from './checks.ts'
import { aClaim, anOutcome, own } from './fixtures.ts'

const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))

const BODIES: Array<[what: string, body: string | Buffer]> = [
  ['empty', Buffer.alloc(0)],
  ['one zero byte', Buffer.of(0)],
  ['every byte there is', EVERY_BYTE],
  ['text', '{"to":"größer €12 支払い 💸\\n\n\n"}'],
  ['no text', ''],
  ['JSON', Buffer.from('{"id":"ord_1","paid":true}')],
  ['text of many scripts', Buffer.from('Zahlung €12 ✓ 支払い済み 💸\r\n')],
  ['500 KB of noise', randomBytes(500 * 1024)]
]

const HEADERS: Array<[what: string, headers: KeptResponse['headers']]> = [
  ['none', []],
  ['one', [['content-type', 'application/json; charset=utf-8']]],
  ['several values of one name', [['link', ['</a>; rel="next"', '</b>; rel="prev"']], ['vary', 'origin']]],
  ['one that the run removed', [['x-powered-by', null], ['etag', '"a\\b"']]],
  ['beyond ASCII', [['x-note', 'bezahlt: 12 €, größer, 支払い 💸']]],
  ['an empty value', [['x-empty', '']]],
  ['what Node.js would refuse to send', [['x-a\\', 'a\nx-b: 1\n\n\\n'], ['x-c', ['\\', '\n']]]]
]

/** What is kept of an outcome. */
export const outcomeCases: StoreCase[] = [
  ...BODIES.map(([what, body]) => aCase(`a duplicate gets the body byte for byte: ${what}`, async (world) => {
    await isKept(world, { statusCode: 200, response: { headers: [], body } })
  })),

  ...HEADERS.map(([what, headers]) => aCase(`a duplicate gets the headers as they were: ${what}`, async (world) => {
    await isKept(world, { statusCode: 200, response: { headers, body: Buffer.from('body') } })
  })),

  ...[200, 201, 204, 302, 404, 422, 599].map(statusCode => aCase(
    `a duplicate gets the status ${statusCode}`,
    async (world) => {
      await isKept(world, { statusCode, response: { headers: [], body: EVERY_BYTE } })
    }
  )),

  aCase('an outcome without a response has its status, and nothing runs again', async (world) => {
    const { store, other, id } = world
    await isKept(world, { statusCode: 202, response: null })
    isSettled(await other.claim(id, aClaim()), 1, { statusCode: 202, response: null })
    assert.equal(await store.complete(id, { ...aClaim(), attempt: 1 }, anOutcome()), false)
  })
]

/** Completes a run with `outcome`, and checks that `claim` and `find` of another process return the same. */
async function isKept ({ store, other, id }: World, outcome: Outcome): Promise<void> {
  const expected = copyOf(outcome)
  assert.equal(await store.complete(id, await own(store, id), outcome), true)
  isSettled(await other.claim(id, aClaim()), 1, expected)
  isRecord(await other.find(id), 'settled', 1, expected)
}

/**
 * The store may change what it is given, or return the object that it keeps, so its results are compared with a copy.
 */
function copyOf ({ statusCode, response }: Outcome): Outcome {
  if (response === null) return { statusCode, response }
  const { headers, body } = response
  return { statusCode, response: { headers: structuredClone(headers), body: Buffer.from(body as string) } }
}
