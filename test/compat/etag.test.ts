import { Readable } from 'node:stream'
import etag from '@fastify/etag'
import type { FastifyInstance } from 'fastify'
import { inEachPosition, replayed } from './helper.ts'

const arrangement = {
  other: (app: FastifyInstance) => app.register(etag),
  routes (app: FastifyInstance, run: () => number) {
    app.post('/json', { config: { idempotency: true } }, async () => ({ run: run() }))
    app.post('/stream', { config: { idempotency: true } }, async () => Readable.from([`run ${run()}`]))
    app.post('/own', { config: { idempotency: true } }, async (_request, reply) =>
      reply.header('etag', '"v7"').send(`run ${run()}`)
    )
  }
}

inEachPosition('a replay has the ETag of the first answer', arrangement, async (t, { client, registeredFirst }) => {
  const [json] = await replayed(t, client, '/json', 'json')
  t.match(json.headers.get('etag'), /^"[\w+/=]+"$/)
  const [own] = await replayed(t, client, '/own', 'own')
  t.equal(own.headers.get('etag'), '"v7"')
  // It sees the gathered bytes of a stream only if it is registered after the plugin.
  const [stream] = await replayed(t, client, '/stream', 'stream', { anew: registeredFirst === 'other' ? ['etag'] : [] })
  t.equal(stream.headers.has('etag'), registeredFirst === 'plugin')
})

inEachPosition('a retry that has the answer already gets a 304, ' +
  'and the next one the answer', arrangement, async (t, { client, runs }) => {
  for (const path of ['/json', '/own']) {
    const kept = await client.post(path, path)
    const tag = String(kept.headers.get('etag'))
    const known = await client.post(path, path, undefined, { 'if-none-match': tag })
    t.equal(known.status, 304)
    t.equal(known.text, '')
    t.equal(known.headers.get('etag'), tag)
    t.equal(known.replayed, true)
    const changed = await client.post(path, path, undefined, { 'if-none-match': '"other"' })
    t.equal(changed.status, 200)
    t.equal(changed.text, kept.text)
  }
  t.equal(runs(), 2)
})

inEachPosition('a first answer that was a 304 is replayed in full only ' +
  'where etag is registered after the plugin', arrangement, async (t, { client, registeredFirst }) => {
  const conditional = await client.post('/own', 'k', undefined, { 'if-none-match': '"v7"' })
  t.equal(conditional.status, 304)
  const retry = await client.post('/own', 'k')
  t.equal(retry.replayed, true)
  t.equal(retry.status, registeredFirst === 'plugin' ? 200 : 304)
  t.equal(retry.text, registeredFirst === 'plugin' ? 'run 1' : '')
})
