import helmet from '@fastify/helmet'
import { inEachPosition, replayed } from './helper.ts'

inEachPosition('a replay has the security headers, and a nonce of its own', {
  other: app =>
    app.register(helmet, {
      enableCSPNonces: true,
      contentSecurityPolicy: { directives: { 'script-src': ["'self'"] } }
    }),
  routes (app, run) {
    app.post('/x', { config: { idempotency: true } }, async () => ({ run: run() }))
  }
}, async (t, { client, runs }) => {
  const [first, second] = await replayed(t, client, '/x', 'k', { anew: ['content-security-policy'] })
  t.equal(second.headers.get('x-frame-options'), 'SAMEORIGIN')
  t.match(second.headers.get('content-security-policy'), /script-src 'self' 'nonce-/)
  t.not(second.headers.get('content-security-policy'), first.headers.get('content-security-policy'))
  t.equal(runs(), 1)
})

inEachPosition('what a route sets and removes of the security headers is so on its replays', {
  other: app => app.register(helmet),
  routes (app) {
    app.post(
      '/x',
      { config: { idempotency: true }, helmet: { frameguard: { action: 'deny' } } },
      async (_request, reply) =>
        reply.removeHeader('x-dns-prefetch-control').header('referrer-policy', 'origin').send('done')
    )
  }
}, async (t, { client }) => {
  const [, second] = await replayed(t, client, '/x', 'k')
  t.equal(second.headers.get('x-frame-options'), 'DENY')
  t.equal(second.headers.get('x-dns-prefetch-control'), null)
  t.equal(second.headers.get('referrer-policy'), 'origin')
})

inEachPosition('a refusal has the security headers', {
  other: app => app.register(helmet),
  routes (app, run) {
    app.post('/x', { config: { idempotency: true } }, async () => ({ run: run() }))
  }
}, async (t, { client, runs }) => {
  const refused = await client.post('/x')
  t.equal(refused.json.code, 'FST_IDEMPOTENCY_KEY_MISSING')
  t.equal(refused.headers.get('x-frame-options'), 'SAMEORIGIN')
  t.equal(runs(), 0)
})
