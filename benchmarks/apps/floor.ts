import crypto from 'node:crypto'
import Fastify from 'fastify'
import type { Redis } from 'ioredis'
import { handlerOf, KEY_HEADER, routeOptions } from './shared.ts'
import type { Work } from './shared.ts'

const RETENTION = 86_400_000
/** Compares the owner and stores the answer. */
const COMPLETE = `
  if redis.call('GETRANGE', KEYS[1], 0, 60) ~= ARGV[1] then return 0 end
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ${RETENTION})
  return 1`

const PROCESS = crypto.randomBytes(9).toString('base64url')
let owners = 0

/**
 * The least code that is still correct, written by hand for this one route: an owner's token, the hash of the request,
 * one claim and one compare-and-set. It has no leases that end, no take-over, no headers, no streams and no problem
 * documents.
 */
export async function floorApp (redis: Redis, work: Work) {
  const app = Fastify()
  const sha = await redis.script('LOAD', COMPLETE) as string
  const answer = handlerOf(work)
  const type = work.payload === 'json' ? 'application/json; charset=utf-8' : 'application/octet-stream'
  app.post('/pay', routeOptions(work), async (request, reply) => {
    const key = `floor:${String(request.headers[KEY_HEADER])}`
    const fingerprint = crypto.hash('sha256', JSON.stringify(request.body), 'base64url')
    const claim = `r${fingerprint}${PROCESS}${(++owners).toString(36).padStart(5, '0')}`
    const found = await redis.setBuffer(key, claim, 'PX', RETENTION, 'NX', 'GET')
    reply.header('content-type', type)
    if (found === null) {
      const body = await answer(request)
      if (Buffer.isBuffer(body)) {
        await redis.evalsha(sha, 1, key, claim, Buffer.concat([Buffer.from(`s${fingerprint}`), body]))
        return body
      }
      const text = reply.serialize(body) as string
      await redis.evalsha(sha, 1, key, claim, `s${fingerprint}${text}`)
      return text
    }
    if (found.toString('latin1', 1, 44) !== fingerprint) return reply.code(422).send('{"code":"reused"}')
    if (found[0] !== 0x73) return reply.code(409).send('{"code":"running"}')
    return found.subarray(44)
  })
  return app
}
