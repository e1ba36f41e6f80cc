import Fastify from 'fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Redis } from 'ioredis'
import pg from 'pg'
import type { Test } from 'tap'
import idempotency from '../../plugin/index.ts'
import { clientOf, connectRedis, newPrefix } from '../helper.ts'
import type { Client } from '../helper.ts'
import { ownDatabase } from './database.ts'
import { startUpstream } from './upstream.ts'

/** What the code of the pages uses and does not declare. A name means the same on every page. */
export interface Given {
  /** An app that has authenticated its user, without the plugin. */
  app: FastifyInstance
  /** The same app with the plugin, on Redis. */
  protectedApp: FastifyInstance
  redis: Redis
  /** A pool of a database that no other test uses. */
  pool: pg.Pool
  /** Pays an order. The number of the receipt grows with each call. */
  pay: Counted<(orderId: string) => Promise<Receipt>>
  /** Pays an order in a transaction of the caller. It rejects if the order is paid already. */
  payIn: (tx: pg.ClientBase, orderId: string) => Promise<Receipt>
  /** Ships an order. */
  ship: Counted<(orderId: string, options: { checkFirst: boolean }) => Promise<{ parcel: string }>>
  /** Applies an event. */
  apply: Counted<(event: object) => Promise<void>>
  closeBooks: Counted<(day: string, signal: AbortSignal) => Promise<{ closed: string }>>
  exportOrders: { start: () => Promise<{ id: string }>, read: (id: string) => Promise<string> }
  /** A payment provider. A test can let it fail once, after it has charged. */
  provider: Provider
  /** A hook that refuses requests without the right signature. */
  verifySignature: (request: FastifyRequest) => Promise<void>
  /** The URL of another service. */
  upstream: string
  /** The URL of a page of that service, which is a number. */
  quoteUrl: string
  /** The URL of a service with protected routes. */
  url: string
}

interface Receipt {
  orderId: string
  receipt: number
}

interface Provider {
  find: (number: string) => Promise<object | null>
  charge: (number: string) => Promise<object>
  failNext: () => void
  readonly charges: number
}

/** A function that counts its calls. */
type Counted<F> = F & { readonly calls: number }

const MAKE: { [name in keyof Given]: (t: Test) => Given[name] | Promise<Given[name]> } = {
  app: newApp,
  async protectedApp (t) {
    const app = newApp(t)
    const keyPrefix = newPrefix()
    const redis = connectRedis(t, { prefix: keyPrefix })
    // A store timeout that no slow machine reaches.
    const scope = (request: FastifyRequest): string => userOf(request).id
    await app.register(idempotency, { redis, keyPrefix, scope, storeTimeout: 60_000 })
    return app
  },
  redis: t => connectRedis(t),
  async pool (t) {
    const pool = new pg.Pool({ connectionString: await ownDatabase(t) })
    // The database may be dropped before the last connection is closed.
    pool.on('error', () => {})
    t.teardown(() => pool.end())
    return pool
  },
  pay: () => counted(async (orderId: string) => ({ orderId, receipt: nextNumber() })),
  payIn: () => async (tx, orderId) => {
    await tx.query('CREATE TABLE IF NOT EXISTS payments (order_id text PRIMARY KEY)', [])
    const { rows } = await tx.query('INSERT INTO payments VALUES ($1) ON CONFLICT DO NOTHING RETURNING 1', [orderId])
    if (rows.length === 0) throw Object.assign(new Error(`Order ${orderId} has been paid`), { statusCode: 409 })
    return { orderId, receipt: nextNumber() }
  },
  ship: () => counted(async (orderId: string) => ({ parcel: `${orderId} ${nextNumber()}` })),
  apply: () => counted(async () => {}),
  closeBooks: () => counted(async (day: string) => ({ closed: day })),
  exportOrders: () => ({
    start: async () => ({ id: String(nextNumber()) }),
    read: async id => id.padEnd(2_000_000, ' ')
  }),
  provider () {
    const charged = new Set<string>()
    let failing = false
    return {
      find: async number => charged.has(number) ? { number } : null,
      async charge (number) {
        charged.add(number)
        if (!failing) return { number }
        failing = false
        throw new Error('the connection was lost')
      },
      failNext: () => { failing = true },
      get charges () { return charged.size }
    }
  },
  verifySignature: () => async (request) => {
    if (request.headers.signature === 'right') return
    throw Object.assign(new Error('Not signed by the sender'), { statusCode: 401 })
  },
  upstream: startUpstream,
  quoteUrl: async t => `${await startUpstream(t)}/quote`,
  async url (t) {
    const app = await MAKE.protectedApp(t)
    app.post('/orders/:id/pay', { config: { idempotency: true } }, async () => ({ receipt: nextNumber() }))
    app.post('/orders/:id/refund', { config: { idempotency: true } }, async () => ({ refund: nextNumber() }))
    return app.listen({ port: 0, host: '127.0.0.1' })
  }
}

const held = new Map<string, Given>()

/** Makes what a block is given, and keeps it for the module that is made of the block. */
export async function give (t: Test, title: string, names: string[]): Promise<Given> {
  const given: Record<string, unknown> = {}
  for (const name of names) {
    if (!Object.hasOwn(MAKE, name)) throw new Error(`${title}: given.ts has nothing with the name ${name}`)
    given[name] = await MAKE[name as keyof Given](t)
  }
  held.set(title, given as unknown as Given)
  return given as unknown as Given
}

/** The module of a block calls this to get what it is given. */
export function taken (title: string): Given {
  return held.get(title) as Given
}

/** Lets an app listen until the test ends. The header `x-user` of a request names its user. */
export async function listen (t: Test, app: FastifyInstance): Promise<Client> {
  authenticate(app)
  t.teardown(() => app.close())
  return clientOf(await app.listen({ port: 0, host: '127.0.0.1' }))
}

function newApp (t: Test): FastifyInstance {
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  authenticate(app)
  return app
}

function authenticate (app: FastifyInstance): void {
  app.addHook('onRequest', async (request) => {
    const { 'x-user': id = 'alice', 'x-tenant': tenant = 'acme' } = request.headers
    Object.assign(request, { user: { id, tenant } })
  })
}

function userOf (request: FastifyRequest): { id: string } {
  return (request as FastifyRequest & { user: { id: string } }).user
}

function counted<A extends unknown[], R> (work: (...args: A) => R): Counted<(...args: A) => R> {
  let calls = 0
  const call = (...args: A): R => {
    calls++
    return work(...args)
  }
  return Object.defineProperty(call, 'calls', { get: () => calls }) as Counted<typeof call>
}

let numbers = 0

function nextNumber (): number {
  return ++numbers
}
