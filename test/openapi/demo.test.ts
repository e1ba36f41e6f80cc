import formbody from '@fastify/formbody'
import swagger from '@fastify/swagger'
import Fastify from 'fastify'
import t from 'tap'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import authentication from '../../demo-app/auth.ts'
import { migrate } from '../../demo-app/db/migrate.ts'
import pool from '../../demo-app/db/pool.ts'
import { answerWithProblems } from '../../demo-app/problems.ts'
import { Provider } from '../../demo-app/provider.ts'
import { healthRoute } from '../../demo-app/routes/health.ts'
import { notifyRoute } from '../../demo-app/routes/notify.ts'
import { orderRoutes } from '../../demo-app/routes/orders.ts'
import { payRoute } from '../../demo-app/routes/pay.ts'
import { refundRoute } from '../../demo-app/routes/refund.ts'
import { storableKeyword } from '../../demo-app/text.ts'
import idempotency from '../../plugin/index.ts'
import { postgresJournal } from '../../plugin/journal/postgres.ts'
import { createDatabase, createOrder, post } from '../demo/helper.ts'
import { connectRedis, newPrefix } from '../helper.ts'
import { codesOf, headersOf, openapi, operationOf, validDocument } from './helper.ts'
import { startSandboxProvider } from '../sandbox-provider/helper.ts'

/** The payment service, as `buildApp` makes it, with @fastify/swagger in it. */
async function buildDescribedDemo (t: Test, version: string): Promise<FastifyInstance> {
  const databaseUrl = await createDatabase(t)
  const sandbox = await startSandboxProvider(t)
  const keyPrefix = newPrefix()
  const redis = connectRedis(t, { prefix: keyPrefix })
  await migrate(databaseUrl, { demoCustomers: true })
  const app = Fastify({
    forceCloseConnections: true,
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, keywords: [storableKeyword] } }
  })
  t.teardown(() => app.close())
  answerWithProblems(app)
  await app.register(pool, { databaseUrl, embedded: false })
  await app.register(authentication)
  await app.register(swagger, openapi(version))
  await app.register(idempotency, {
    redis,
    keyPrefix,
    scope: request => request.customer.id,
    journal: postgresJournal(app.pg)
  })
  await app.register(formbody)
  const provider = new Provider({
    ...sandbox.options,
    timeout: 10_000,
    notifyUrl: () => new URL('/payments/notify', app.listeningOrigin).href
  })
  await app.register(healthRoute, { redis, embedded: false })
  await app.register(orderRoutes)
  for (const route of [payRoute, refundRoute, notifyRoute]) await app.register(route, { provider })
  return app
}

for (const version of ['3.0.3', '3.1.0']) {
  t.test(`the payment service describes itself in OpenAPI ${version}, and works as it did`, async (t) => {
    const app = await buildDescribedDemo(t, version)
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const document = await validDocument(app)
    t.strictSame(Object.keys(document.paths).sort(), [
      '/health', '/orders', '/orders/{id}', '/orders/{id}/pay', '/orders/{id}/refund', '/payments/notify'
    ])

    for (const [path, status, others] of [
      ['/orders', 201, []],
      ['/orders/{id}/pay', 200, ['402']],
      ['/orders/{id}/refund', 200, ['402']]
    ] as const) {
      const operation = operationOf(document, path)
      t.equal(headersOf(operation)['idempotency-key']?.required, true, path)
      t.strictSame(
        Object.keys(operation.responses),
        [...[status, 400, 409, 415, 422, 503].map(String), ...others].sort(),
        path
      )
      t.ok(operation.responses[status]?.headers?.['Idempotent-Replayed'], path)
      t.strictSame(codesOf(operation.responses[409]), [
        'FST_IDEMPOTENCY_IN_PROGRESS', 'FST_IDEMPOTENCY_NOT_REPLAYABLE', 'FST_IDEMPOTENCY_RECORD_UNREADABLE'
      ], path)
    }
    const notify = operationOf(document, '/payments/notify')
    t.equal(notify.parameters, undefined, 'the key of a notification is its id')
    t.strictSame(codesOf(notify.responses[422]), ['FST_IDEMPOTENCY_KEY_REUSED'])
    t.strictSame(Object.keys(operationOf(document, '/orders/{id}', 'get').responses), ['200'])
    t.strictSame(Object.keys(operationOf(document, '/health', 'get').responses), ['200', '503'])

    const order = await createOrder(url)
    const receipt = await post(`${order}/pay`, { method: 'card' }, { key: 'pay' })
    t.equal(receipt.status, 200)
    t.strictSame(Object.keys(receipt.json), ['orderId', 'paymentId', 'amount', 'currency', 'status', 'paidAt'])
    const replay = await post(`${order}/pay`, { method: 'card' }, { key: 'pay' })
    t.equal(replay.replayed, true)
    t.equal(replay.text, receipt.text)
    t.equal((await post(`${order}/pay`, { method: 'cash' })).json.code, 'INVALID_REQUEST')
  })
}
