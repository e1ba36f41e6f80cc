import { randomUUID } from 'node:crypto'
import { clientOf } from '../helper.ts'
import type { Client } from '../helper.ts'
import { listen } from './given.ts'
import { testPage } from './run.ts'

await testPage('docs/recipes.md', {
  async 'Check before you act' (t, { protectedApp, provider }) {
    const client = await listen(t, protectedApp)
    provider.failNext()
    t.equal((await client.post('/orders/17/pay', 'k')).status, 500, 'charged, and not known')
    t.same((await client.post('/orders/17/pay', 'k')).json, { number: 'order-17' })
    t.equal(provider.charges, 1)
  },

  async 'Stop when the key is lost' (t, { protectedApp }) {
    const client = await listen(t, protectedApp)
    const first = await client.post('/orders/17/ship', 'k')
    t.match(first.json, { price: 5, parcel: /^17 / })
    t.equal((await client.post('/orders/17/ship', 'k')).text, first.text)
  },

  async 'A time limit for a handler' (t, { protectedApp }) {
    const client = await listen(t, protectedApp)
    t.same((await client.post('/quotes', 'k', { of: 'a parcel' })).json, { price: 5 })
    t.equal((await client.post('/quotes', 'k', { of: 'a parcel' })).replayed, true)
  },

  async 'Wait for the answer instead of a 409' (t, { protectedApp }) {
    const client = await listen(t, protectedApp)
    const answers = await Promise.all(Array.from({ length: 5 }, () => client.post('/orders/17/pay', 'k')))
    t.same(answers.map(({ status }) => status), [200, 200, 200, 200, 200])
    t.equal(new Set(answers.map(({ text }) => text)).size, 1)
    t.equal(protectedApp.idempotency.stats().claimed, 1)
  },

  async 'Webhooks' (t, { protectedApp, apply }) {
    const client = await listen(t, protectedApp)
    const event = (body: object, signature = 'right'): ReturnType<Client['post']> =>
      client.post('/webhooks/payments', null, body, { signature })
    t.equal((await event({ id: 'e1', type: 'charged' }, 'wrong')).status, 401)
    t.equal(await protectedApp.idempotency.find('e1', 'payments-provider'), null)
    t.equal((await event({ id: 'e1', type: 'charged', at: 1 })).text, 'success')
    t.equal((await event({ id: 'e1', type: 'charged', at: 2 })).replayed, true)
    t.equal(apply.calls, 1)
    t.equal((await event({ type: 'charged' })).json.code, 'FST_IDEMPOTENCY_KEY_MISSING')
  },

  async 'Tenants' (t, { app }) {
    const client = await listen(t, app)
    const post = (path: string, key: string, user: string, tenant: string): ReturnType<Client['post']> =>
      client.post(path, key, undefined, { 'x-user': user, 'x-tenant': tenant })
    const key = randomUUID()
    t.teardown(() =>
      Promise.all(
        [...['["acme","bob"]', '["acme","eve"]', '["other","bob"]'], 'acme'].map(scope =>
          app.idempotency.forget(key, scope)
        )
      )
    )
    t.equal((await post('/notes', key, 'bob', 'acme')).text, 'noted for bob')
    for (const [user, tenant] of [['eve', 'acme'], ['bob', 'other']] as const) {
      t.equal((await post('/notes', key, user, tenant)).replayed, false, `${user} of ${tenant}`)
    }
    t.equal((await post('/reports', key, 'bob', 'acme')).text, 'ordered by bob')
    t.equal((await post('/reports', key, 'eve', 'acme')).text, 'ordered by bob')
  },

  async 'The key in the body' (t, { protectedApp }) {
    const client = await listen(t, protectedApp)
    const pay = (key?: string): ReturnType<Client['post']> =>
      client.post('/v2/payments', null, { idempotency_key: key, order_id: '17' })
    const first = await pay('k')
    t.match(first.json, { orderId: '17' })
    t.equal((await pay('k')).text, first.text)
    t.equal((await pay('x'.repeat(46))).json.code, 'FST_IDEMPOTENCY_KEY_INVALID')
    t.equal((await pay()).json.code, 'FST_IDEMPOTENCY_KEY_MISSING')
  },

  async 'The key in a header of another name' (t, { app }) {
    const client = await listen(t, app)
    const key = randomUUID()
    t.teardown(() => app.idempotency.forget(key, 'alice'))
    const capture = (headers: Record<string, string>): ReturnType<Client['post']> =>
      client.post('/v2/orders/17/capture', null, undefined, headers)
    const first = await capture({ 'paypal-request-id': key })
    t.equal((await capture({ 'paypal-request-id': key })).text, first.text)
    t.not((await capture({})).text, (await capture({})).text, 'unprotected without a key')
  },

  async 'Answers too large to keep' (t, { protectedApp }) {
    const client = await listen(t, protectedApp)
    const first = await client.post('/exports', 'k')
    const second = await client.post('/exports', 'k')
    t.equal(first.status, 201)
    t.equal(second.headers.get('location'), first.headers.get('location'))
    t.equal((await client.get(String(second.headers.get('location')))).text.length, 2_000_000)
  },

  async 'Secrets that must not be stored' (t, { protectedApp }) {
    const client = await listen(t, protectedApp)
    const first = await client.post('/api-keys', 'k')
    t.match(first.json, { id: 'key-1', secret: /^\S{43}$/ })
    const retry = await client.post('/api-keys', 'k')
    t.equal(retry.replayed, true)
    t.same(retry.json, { id: 'key-1', secret: null })
    t.notMatch(
      (await protectedApp.idempotency.find('k', 'alice'))?.response?.body.toString(),
      String(first.json.secret)
    )
  },

  async 'Uploads' (t, { protectedApp }) {
    const { url } = await listen(t, protectedApp)
    const upload = async (note: string): Promise<Response> => {
      const body = new FormData()
      body.append('note', note)
      body.append('file', new Blob(['bytes']), 'invoice.pdf')
      return fetch(`${url}/invoices`, { method: 'POST', headers: { 'idempotency-key': 'k' }, body })
    }
    t.same(await (await upload('for May')).json(), { received: ['note', 'file'] })
    t.equal((await upload('for May')).headers.get('idempotent-replayed'), 'true')
    t.equal((await upload('for June')).status, 422)
  },

  async 'A rate limit that replays do not pay' (t, { protectedApp }) {
    const client = await listen(t, protectedApp)
    const statuses: number[] = []
    for (const key of ['a', 'a', 'a', 'b', 'c', 'a']) {
      statuses.push((await client.post(`/orders/${key}/pay`, key)).status)
    }
    t.same(statuses, [200, 200, 200, 200, 429, 200])
  },

  async 'A gateway in front of services' (t, { app }) {
    const client = await listen(t, app)
    const key = randomUUID()
    t.teardown(() => app.idempotency.forget(key, 'alice'))
    const first = await client.post('/api/pay', key, { amount: 1 })
    t.same(first.json, { call: 1, url: '/pay', body: { amount: 1 } })
    const second = await client.post('/api/pay', key, { amount: 1 })
    t.equal(second.text, first.text)
    t.equal(second.replayed, true)
    t.equal((await client.post('/api/pay', key, { amount: 2 })).status, 422)
    t.equal(
      (await client.post('/api/pay', randomUUID(), { amount: 2 })).json.call,
      2,
      'only the first of these was forwarded'
    )
  },

  async 'A queue consumer' (t, { protectedApp, onMessage, ship }) {
    const message = { id: randomUUID(), orderId: '17' }
    const [first, second] = await Promise.all([onMessage(message), onMessage(message)])
    t.match(first, { parcel: /^17 \d+$/ })
    t.same(second, first)
    t.same(await onMessage(message), first)
    t.equal(ship.calls, 1)
    await t.rejects(onMessage({ ...message, orderId: '18' }), { code: 'FST_IDEMPOTENCY_KEY_REUSED' })
    t.equal(protectedApp.idempotency.stats().claimed, 1)
  },

  async 'A cron job' (t, { closeDay, closeBooks }) {
    const first = await closeDay('2026-11-25')
    t.same(first, { closed: '2026-11-25' })
    t.same(await closeDay('2026-11-25'), first)
    t.equal(closeBooks.calls, 1)
  },

  async 'A journal in a migration, for some routes' (t, { app }) {
    const client = await listen(t, app)
    const key = randomUUID()
    t.teardown(() => app.idempotency.forget(key, 'alice'))
    const first = await client.post('/orders/17/pay', key)
    t.match(first.json, { orderId: '17' })
    await app.idempotency.forget(key, 'alice')
    const retry = await client.post('/orders/17/pay', key)
    t.equal(retry.text, first.text)
    t.equal(app.idempotency.stats().recalled, 1)
  },

  async 'Browsers on another origin' (t, { protectedApp }) {
    const { url } = await listen(t, protectedApp)
    const preflight = await fetch(`${url}/orders/17/pay`, {
      method: 'OPTIONS',
      headers: {
        origin: 'https://shop.example',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'idempotency-key'
      }
    })
    t.match(preflight.headers.get('access-control-allow-headers'), /idempotency-key/)
    const answer = await clientOf(url).post('/orders/17/pay', 'k', undefined, { origin: 'https://shop.example' })
    t.equal(answer.status, 200)
    t.match(answer.headers.get('access-control-expose-headers'), /idempotent-replayed/)
  }
})
