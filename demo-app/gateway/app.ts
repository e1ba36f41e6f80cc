import { createHash, timingSafeEqual } from 'node:crypto'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { DestinationStream } from 'pino'
import { answerWithProblems, Problem } from '../problems.ts'
import { chargeRoutes } from './charges.ts'
import { Faults } from './faults.ts'
import { Ledger } from './ledger.ts'
import { Notifier } from './notifier.ts'
import type { NotifyOptions } from './notifier.ts'
import { seeded } from './random.ts'
import { refundRoutes } from './refunds.ts'
import { sandboxRoutes } from './sandbox.ts'
import { generateKeys } from './signature.ts'
import type { Keys } from './signature.ts'

export interface GatewayAppOptions {
  /** What a merchant sends as a bearer token. */
  apiKey: string
  notify?: NotifyOptions
  /** Default: new ones. */
  keys?: Keys
  /** Of what looks like chance. Default 1. */
  seed?: number
  logger?: false | { level: string, stream?: DestinationStream }
}

/** What the routes share. */
export interface Books {
  ledger: Ledger
  faults: Faults
  notifier: Notifier
  /** Aborts when the app closes: whoever is kept waiting is let go. */
  closing: AbortSignal
}

/**
 * A payment provider, modelled on the sandboxes of the large wallets: charge, query, close and refund by the merchant's
 * own numbers, and signed notifications. For the demo and its tests: it moves nothing but entries of its ledger.
 */
export async function buildGateway ({ apiKey, notify = {}, keys = generateKeys(), seed = 1, logger = false }: GatewayAppOptions): Promise<FastifyInstance> {
  const app = Fastify({
    logger,
    forceCloseConnections: true,
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false } }
  })
  const closing = new AbortController()
  const books: Books = {
    ledger: new Ledger(),
    faults: new Faults(),
    notifier: new Notifier(keys.privateKey, notify, seeded(seed)),
    closing: closing.signal
  }
  app.addHook('preClose', async () => {
    books.notifier.close()
    closing.abort()
  })
  answerWithProblems(app)
  authenticate(app, apiKey)
  app.get('/v1/public-key', { config: { public: true } }, async (_request, reply) => reply.type('text/plain').send(keys.publicKey))
  await app.register(chargeRoutes, books)
  await app.register(refundRoutes, books)
  await app.register(sandboxRoutes, books)
  return app
}

function authenticate (app: FastifyInstance, apiKey: string): void {
  const expected = digest(`Bearer ${apiKey}`)
  app.addHook('onRequest', async (request) => {
    if (request.is404 || request.routeOptions.config.public === true) return
    if (!timingSafeEqual(digest(request.headers.authorization ?? ''), expected)) {
      throw new Problem(401, 'API_KEY_INVALID', 'Send your API key as "Authorization: Bearer <key>".')
    }
  })
}

function digest (text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
