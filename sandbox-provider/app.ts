import { createHash, timingSafeEqual } from 'node:crypto'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { DestinationStream } from 'pino'
import type { Books } from './books.ts'
import { chargeRoutes } from './charges.ts'
import { ProviderError } from './errors.ts'
import { Faults } from './faults.ts'
import { Ledger } from './ledger.ts'
import { Notifier } from './notifier.ts'
import type { NotifyOptions } from './notifier.ts'
import { seeded } from './random.ts'
import { refundRoutes } from './refunds.ts'
import { sandboxRoutes } from './sandbox.ts'
import { generateKeys } from './signature.ts'
import type { Keys } from './signature.ts'

export interface SandboxProviderOptions {
  /** What a merchant sends as a bearer token. */
  apiKey: string
  notify?: NotifyOptions
  /** The keys that sign notifications. Default: a new pair. */
  keys?: Keys
  /** The seed of the pseudorandom numbers. Default 1. */
  seed?: number
  logger?: false | { level: string, stream?: DestinationStream }
}

/**
 * A payment provider, modelled on the sandboxes of large wallets: a merchant charges, queries, closes and refunds under
 * numbers of its own, and gets signed notifications. It is for the demo and its tests, and moves no real money.
 */
export async function buildSandboxProvider ({
  apiKey,
  notify = {},
  keys = generateKeys(),
  seed = 1,
  logger = false
}: SandboxProviderOptions): Promise<FastifyInstance> {
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
  app.get('/v1/public-key', async (_request, reply) => reply.type('text/plain').send(keys.publicKey))
  await app.register(async (merchantRoutes) => {
    requireApiKey(merchantRoutes, apiKey)
    await merchantRoutes.register(chargeRoutes, books)
    await merchantRoutes.register(refundRoutes, books)
    await merchantRoutes.register(sandboxRoutes, books)
  })
  return app
}

function requireApiKey (app: FastifyInstance, apiKey: string): void {
  const expected = digest(`Bearer ${apiKey}`)
  app.addHook('onRequest', async (request) => {
    if (timingSafeEqual(digest(request.headers.authorization ?? ''), expected)) return
    throw new ProviderError(401, 'API_KEY_INVALID', 'Send your API key as "Authorization: Bearer <key>".')
  })
}

/** `timingSafeEqual` compares buffers of one length only. */
function digest (text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
