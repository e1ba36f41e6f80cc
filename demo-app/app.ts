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
  /** Whether `databaseUrl` comes from `startEmbeddedDatabase`. Default `false`. */
  embedded?: boolean
  /** The caller closes it after the app. `null`: idempotency keys are kept in the memory of this process. */
  redis: Redis | null
  /** Whether to add the customers alice and bob, whose tokens are public. Default `true`. */
  demoCustomers?: boolean
  logger?: false | { level: string, stream?: DestinationStream }
  /** Options of the plugin that this app does not set itself. */
  idempotency?: Omit<IdempotencyOptions, 'scope' | 'redis' | 'store'>
  /** The payment provider. */
  provider: ProviderSettings
  /** Milliseconds after which the sweeper settles a started payment that nobody works on. Default a minute. */
  sweepAfter?: number
}

export interface ProviderSettings {
  url: string
  apiKey: string
  /** Milliseconds that one call may take. Default 10 000. */
  timeout?: number
  /** The URL at which the provider reaches this app. Default: the address that the app listens on. */
  publicUrl?: string
}

const REDACTED = ['', 'req.'].flatMap(prefix => [
  `${prefix}headers.authorization`,
  `${prefix}headers["idempotency-key"]`
])

export async function buildApp ({
  databaseUrl,
  embedded = false,
  redis,
  demoCustomers = true,
  logger = false,
  idempotency: pluginOptions,
  provider: providerSettings,
  sweepAfter = 60_000
}: AppOptions): Promise<FastifyInstance> {
  const app = Fastify({
    // Requests are logged without their headers. If somebody logs headers one day, no credential and no key appears.
    logger: logger && { ...logger, redact: REDACTED },
    bodyLimit: 16_384,
    // A body is taken as it is: "100" is not read as 100, and an unknown member is an error and not left out.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, keywords: [storableKeyword] } },
    // A path that cannot be decoded reaches no route, and so no error handler.
    frameworkErrors: (error, request, reply) => { void answerWithProblem(error, request, reply) }
  })

  app.log.info(`Orders and payments are kept in ${describeDatabase(databaseUrl, embedded)}`)
  app.log.info(`Idempotency keys are kept in ${describeStore(redis)}`)
  app.log.info(`Money is moved by the payment provider at ${new URL(providerSettings.url).host}`)
  await migrate(databaseUrl, { demoCustomers })

  answerWithProblems(app)
  readJsonAsUtf8(app)
  await app.register(pool, { databaseUrl, embedded })
  await app.register(authentication)
  await app.register(idempotency, {
    ...pluginOptions,
    ...(redis === null ? { store: new MemoryStore() } : { redis }),
    // The customer and not the token, because a token may be renewed between a request and its retry.
    scope: request => request.customer.id,
    // The database keeps each answer together with the change that it describes. So a retry gets the first answer,
    // whatever fails, and whenever it does.
    journal: postgresJournal(app.pg),
    // The journal also keeps final refusals: a late duplicate of a refused payment must not pay the order after all.
    journalAnswers: true
  })

  // The app remembers its address, because it still finishes payments when it closes and no longer listens.
  let origin = ''
  app.addHook('onListen', async () => { origin = app.listeningOrigin })
  const provider = new Provider({
    url: providerSettings.url,
    apiKey: providerSettings.apiKey,
    timeout: providerSettings.timeout ?? 10_000,
    notifyUrl: () => new URL('/payments/notify', providerSettings.publicUrl ?? origin).href
  })
  sweepWhileReady(app, provider, sweepAfter)

  // The provider posts its notifications as forms.
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
