import formbody from '@fastify/formbody'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'
import type { DestinationStream } from 'pino'
import idempotency, { MemoryStore } from '../plugin/index.ts'
import type { IdempotencyOptions } from '../plugin/index.ts'
import { postgresJournal } from '../plugin/journal/postgres.ts'
import authentication from './auth.ts'
import { migrate } from './db/migrate.ts'
import pool from './db/pool.ts'
import { describeDatabase, describeStore } from './describe.ts'
import { startSweeper } from './orders/sweeper.ts'
import { readJsonAsUtf8 } from './json.ts'
import { answerWithProblems, answerWithProblem } from './problems.ts'
import { Provider } from './provider.ts'
import { healthRoute } from './routes/health.ts'
import { notifyRoute } from './routes/notify.ts'
import { orderRoutes } from './routes/orders.ts'
import { payRoute } from './routes/pay.ts'
import { refundRoute } from './routes/refund.ts'
import { storableKeyword } from './text.ts'

export interface AppOptions {
  databaseUrl: string
  /** `databaseUrl` is that of `startEmbeddedDatabase`. Default `false`. */
  embedded?: boolean
  /** The caller's, to be closed after the app. `null`: idempotency keys are kept in this process. */
  redis: Redis | null
  /** Seed alice and bob, whose tokens everybody knows. Default `true`. */
  demoCustomers?: boolean
  logger?: false | { level: string, stream?: DestinationStream }
  /** Settings of the plugin that are not this app's own business. */
  idempotency?: Omit<IdempotencyOptions, 'scope' | 'redis' | 'store'>
  /** The payment provider. */
  gateway: GatewayOptions
  /** Milliseconds after which a payment that nobody works on is settled by the sweeper. Default a minute. */
  sweepAfter?: number
}

export interface GatewayOptions {
  url: string
  apiKey: string
  /** Milliseconds for one call. Default 10 000. */
  timeout?: number
  /** Where the provider reaches this app. Default: where it listens. */
  publicUrl?: string
}

const REDACTED = ['', 'req.'].flatMap(prefix => [`${prefix}headers.authorization`, `${prefix}headers["idempotency-key"]`])

export async function buildApp (options: AppOptions): Promise<FastifyInstance> {
  const { databaseUrl, embedded = false, redis, demoCustomers = true, logger = false, gateway, sweepAfter = 60_000 } = options
  const app = Fastify({
    // Requests are logged without their headers. Should somebody log those one day, no credential and no key shows.
    logger: logger && { ...logger, redact: REDACTED },
    bodyLimit: 16_384,
    // A payment is what the client wrote: "100" is not 100, and a member that we do not know is not dropped silently.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, keywords: [storableKeyword] } },
    // A path that cannot be read never gets to a route, or to its error handler.
    frameworkErrors: (error, request, reply) => { void answerWithProblem(error, request, reply) }
  })

  app.log.info(`Orders and payments are kept in ${describeDatabase(databaseUrl, embedded)}`)
  app.log.info(`Idempotency keys are kept in ${describeStore(redis)}`)
  app.log.info(`Money is moved by the payment provider at ${new URL(gateway.url).host}`)
  await migrate(databaseUrl, { demoCustomers })

  answerWithProblems(app)
  readJsonAsUtf8(app)
  await app.register(pool, { databaseUrl, embedded })
  await app.register(authentication)
  await app.register(idempotency, {
    ...options.idempotency,
    ...(redis === null ? { store: new MemoryStore() } : { redis }),
    // The customer, not the token: a token may be renewed between a request and its retry.
    scope: request => request.customer.id,
    // Answers stand in the database beside what they tell of: whatever dies, and when, a retry gets the first one.
    journal: postgresJournal(app.pg),
    // Final refusals too: an order that could not be paid must not be paid by a late duplicate of that request.
    journalAnswers: true
  })
  // After the plugin: closing may begin while it stores an answer.

  // Remembered: an app that closes does not listen any more, but still finishes its payments.
  let origin = ''
  app.addHook('onListen', async () => { origin = app.listeningOrigin })
  const provider = new Provider({
    url: gateway.url,
    apiKey: gateway.apiKey,
    timeout: gateway.timeout ?? 10_000,
    notifyUrl: () => new URL('/payments/notify', gateway.publicUrl ?? origin).href
  })
  sweepWhileReady(app, provider, sweepAfter)

  // What the provider posts is a form.
  await app.register(formbody)
  await app.register(healthRoute, { redis, embedded })
  await app.register(orderRoutes)
  await app.register(payRoute, { provider })
  await app.register(refundRoute, { provider })
  await app.register(notifyRoute, { provider })
  return app
}

function sweepWhileReady (app: FastifyInstance, provider: Provider, sweepAfter: number): void {
  app.addHook('onReady', async () => {
    const sweeper = startSweeper(app.pg, provider, sweepAfter, app.log)
    app.addHook('onClose', () => sweeper.stop())
  })
}
