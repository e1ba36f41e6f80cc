import { fastifySSE } from '@fastify/sse'
import type { FastifyInstance } from 'fastify'
import { lookAfterLeasesOften, until } from '../helper.ts'
import { inEachPosition, replayed } from './helper.ts'

const EVENTS = { accept: 'text/event-stream' }

const arrangement = {
  other: (app: FastifyInstance) => app.register(fastifySSE),
  options: { global: true },
  routes (app: FastifyInstance, run: () => number) {
    // The plugin notices what was written past Fastify when it looks after the leases.
    lookAfterLeasesOften(app)
    app.get('/events', { sse: 'only' }, async (request, reply) => {
      for (const id of ['1', '2', '3']) await reply.sse.send({ id, data: { protected: request.idempotency !== null } })
    })
    app.post('/stream', { sse: 'manual', config: { idempotency: false } }, async (_request, reply) => {
      await reply.sse.send({ data: run() })
    })
    app.post('/either', { sse: 'dual' }, async (request, reply) => {
      const answer = { run: run() }
      if (request.headers.accept !== EVENTS.accept) return answer
      await reply.sse.send({ data: answer })
    })
  }
}

inEachPosition('an SSE route is left alone, ' +
  'with every POST protected and a key sent along', arrangement, async (t, { client, idempotency }) => {
  for (let time = 0; time < 2; time++) {
    const response = await fetch(`${client.url}/events`, { headers: { ...EVENTS, 'idempotency-key': 'k' } })
    t.equal(response.headers.get('content-type'), 'text/event-stream')
    t.equal(await response.text(), ['1', '2', '3'].map(id => `id: ${id}\ndata: {"protected":false}\n\n`).join(''))
  }
  t.equal(idempotency.stats().claimed, 0)
})

inEachPosition('an SSE route on POST is left alone if it says so', arrangement, async (t, { client, idempotency }) => {
  for (const run of [1, 2]) t.equal((await client.post('/stream', 'k')).text, `data: ${run}\n\n`)
  t.equal(idempotency.stats().claimed, 0)
})

inEachPosition('a route that serves both replays its JSON, ' +
  'and never runs again what it sent as events', arrangement, async (t, { client, idempotency, runs }) => {
  await replayed(t, client, '/either', 'json', { headers: { accept: 'application/json' } })
  t.equal((await client.post('/either', 'events', undefined, EVENTS)).text, 'data: {"run":2}\n\n')
  await until(
    async () => (await idempotency.find('events', 'global'))?.state === 'settled',
    'the settling of the event stream'
  )
  const retry = await client.post('/either', 'events', undefined, EVENTS)
  t.match(retry.json, { code: 'FST_IDEMPOTENCY_NOT_REPLAYABLE', originalStatus: 200 })
  t.equal(runs(), 2)
})
