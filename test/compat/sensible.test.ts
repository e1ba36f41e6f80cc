import sensible from '@fastify/sensible'
import type { FastifyInstance } from 'fastify'
import { inEachPosition, replayed } from './helper.ts'

const arrangement = {
  other: (app: FastifyInstance) => app.register(sensible),
  routes (app: FastifyInstance, run: () => number) {
    const idempotent = { config: { idempotency: true } }
    app.post('/reply/badRequest', idempotent, (_request, reply) => reply.badRequest(`run ${run()}`))
    app.post('/reply/paymentRequired', idempotent, (_request, reply) => reply.paymentRequired(`run ${run()}`))
    app.post('/reply/internalServerError', idempotent, (_request, reply) => reply.internalServerError(`run ${run()}`))
    app.post('/reply/serviceUnavailable', idempotent, (_request, reply) => reply.serviceUnavailable(`run ${run()}`))
    app.post('/reply/tooManyRequests', idempotent, (_request, reply) => reply.tooManyRequests(`run ${run()}`))
    app.post('/throw/conflict', idempotent, async () => { throw app.httpErrors.conflict(`run ${run()}`) })
    app.post('/throw/unprocessableEntity', idempotent, async () => {
      throw app.httpErrors.unprocessableEntity(`run ${run()}`)
    })
    app.post('/throw/badGateway', idempotent, async () => { throw app.httpErrors.badGateway(`run ${run()}`) })
    app.post('/assert', idempotent, async () => { app.assert(false, 403, `run ${run()}`) })
    app.post('/fine', idempotent, async (_request, reply) => {
      reply.cacheControl('private')
      reply.vary('accept-language')
      return `run ${run()}`
    })
  }
}

const KEPT = {
  '/reply/badRequest': 400,
  '/reply/paymentRequired': 402,
  '/throw/conflict': 409,
  '/throw/unprocessableEntity': 422,
  '/assert': 403,
  '/fine': 200
}
const RELEASED = {
  '/reply/internalServerError': 500,
  '/reply/serviceUnavailable': 503,
  '/reply/tooManyRequests': 429,
  '/throw/badGateway': 502
}

inEachPosition('an httpError that settles a request is replayed, ' +
  'however it was made', arrangement, async (t, { client, runs }) => {
  for (const [path, status] of Object.entries(KEPT)) {
    const [first] = await replayed(t, client, path, path)
    t.equal(first.status, status, path)
    t.match(first.text, `run ${runs()}`, path)
  }
  t.equal(runs(), Object.keys(KEPT).length)
})

inEachPosition(
  'an httpError that does not settle a request lets the next retry run at once',
  arrangement,
  async (t, { client, idempotency, runs }) => {
    for (const [path, status] of Object.entries(RELEASED)) {
      for (const attempt of [1, 2]) {
        const answer = await client.post(path, path)
        t.equal(answer.status, status, path)
        t.equal(answer.replayed, false, path)
        t.match(await idempotency.find(path, 'global'), { state: 'released', attempt }, path)
      }
    }
    t.equal(runs(), 2 * Object.keys(RELEASED).length)
  }
)

inEachPosition('headers that its reply methods set are replayed', arrangement, async (t, { client }) => {
  const [, second] = await replayed(t, client, '/fine', 'k')
  t.equal(second.headers.get('cache-control'), 'private')
  t.equal(second.headers.get('vary'), 'accept-language')
})
