import crypto from 'node:crypto'
import Fastify from 'fastify'
import type { Redis } from 'ioredis'
import { handlerOf, KEY_HEADER, routeOptions } from './shared.ts'
import type { Work } from './shared.ts'
import { argument, constants, sendBytes } from './wire.ts'
import type { Bytes } from './wire.ts'

const RETENTION = '86400000'
/** Compares the owner and stores the answer, on servers that have no command for it. */
const COMPLETE = `
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
  return redis.call('SET', KEYS[1], ARGV[2], 'PX', ${RETENTION})`

const PROCESS = crypto.randomBytes(9).toString('base64url')
let owners = 0

/** `native`: by `SET … IFEQ`, which Valkey has since 8.1 and Redis since 8.4. */
export type CompareAndSet = 'native' | 'script'

/**
 * The least code that is still correct, written by hand for this one route: an owner's token, the hash of the request,
 * one claim and one compare-and-set. It has no leases that end, no take-over, no headers, no streams and no problem
 * documents. It builds the bytes of its commands itself and sends all commands of one turn of the event loop at once.
 */
export async function floorApp (redis: Redis, work: Work, { byScript = false } = {}) {
  const app = Fastify()
  const isNative = !byScript && await hasNativeCompareAndSet(redis)
  const complete = isNative ? completeNatively() : await completeByScript(redis)
  const answer = handlerOf(work)
  const type = work.payload === 'json' ? 'application/json; charset=utf-8' : 'application/octet-stream'
  app.post('/pay', routeOptions(work), async (request, reply) => {
    const key = `floor:${String(request.headers[KEY_HEADER])}`
    const fingerprint = crypto.hash('sha256', JSON.stringify(request.body), 'base64url')
    const claim = `r${fingerprint}${PROCESS}${(++owners).toString(36).padStart(5, '0')}`
    const found = await sendBytes(redis, 'set', key, claimBytes(key, claim)) as Buffer | null
    reply.header('content-type', type)
    if (found === null) {
      const body = await answer(request)
      const payload = Buffer.isBuffer(body) ? body : reply.serialize(body) as string
      await complete(redis, key, claim, `s${fingerprint}`, payload)
      return payload
    }
    if (found.toString('latin1', 1, 44) !== fingerprint) return reply.code(422).send('{"code":"reused"}')
    if (found[0] !== 0x73) return reply.code(409).send('{"code":"running"}')
    return found.subarray(44)
  })
  return app
}

const CLAIM_HEAD = `*7\r\n${argument('SET')}`
const CLAIM_TAIL = constants('PX', RETENTION, 'NX', 'GET')

function claimBytes (key: string, claim: string): string {
  return CLAIM_HEAD + argument(key) + argument(claim) + CLAIM_TAIL
}

type Complete = (redis: Redis, key: string, claim: string, head: string, payload: string | Buffer) => Promise<unknown>

function completeNatively (): Complete {
  const begin = `*7\r\n${argument('SET')}`
  const compare = argument('IFEQ')
  const expire = constants('PX', RETENTION)
  return (redis, key, claim, head, payload) =>
    sendBytes(redis, 'set', key, around(begin + argument(key), head, payload, compare + argument(claim) + expire))
}

async function completeByScript (redis: Redis): Promise<Complete> {
  const begin = `*6\r\n${constants('EVALSHA', await redis.script('LOAD', COMPLETE) as string, '1')}`
  return (redis, key, claim, head, payload) =>
    sendBytes(redis, 'evalsha', key, around(begin + argument(key) + argument(claim), head, payload, ''))
}

/** The bytes of a command with an argument that consists of `head` and `payload`. */
function around (before: string, head: string, payload: string | Buffer, after: string): Bytes {
  if (typeof payload === 'string') return before + argument(head + payload) + after
  return [`${before}$${head.length + payload.length}\r\n${head}`, payload, `\r\n${after}`]
}

/** Tries the native command, with a key that does not exist. So it changes nothing. */
export async function hasNativeCompareAndSet (redis: Redis): Promise<boolean> {
  try {
    await redis.call('SET', 'floor:none', 'none', 'IFEQ', 'none')
    return true
  } catch {
    return false
  }
}
