import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { ClientBase } from 'pg'
import { Problem } from './problems.ts'

export interface Customer {
  id: string
  name: string
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The owner of the request's token. Set on every route that is not `public`, before anything else runs. */
    customer: Customer
  }
  interface FastifyContextConfig {
    /** Whether the route answers requests without a token. */
    public?: boolean
  }
}

/** Tokens that are public: use them for the demo only. `DEMO_CUSTOMERS=false` leaves their customers out. */
export const DEMO_TOKENS = {
  alice: 'alice-demo-token',
  bob: 'bob-demo-token'
} as const

const BEARER = /^Bearer +([\w.~+/-]+=*) *$/i

async function authentication (app: FastifyInstance): Promise<void> {
  app.decorateRequest('customer')

  app.addHook('onRequest', async (request, reply) => {
    if (request.is404 || request.routeOptions.config.public === true) return
    const token = BEARER.exec(request.headers.authorization ?? '')?.[1]
    if (token === undefined) {
      reply.header('www-authenticate', 'Bearer')
      throw new Problem(401, 'TOKEN_MISSING', 'Send your token as "Authorization: Bearer <token>".')
    }
    // The query does not have to take constant time, because it compares hashes: an attacker who measures how many
    // bytes of a hash match cannot derive a better token from that.
    const { rows: [customer] } = await app.pg.query<Customer>(
      'SELECT id, name FROM customers WHERE token_hash = $1', [hash(token)])
    if (customer === undefined) {
      reply.header('www-authenticate', 'Bearer error="invalid_token"')
      throw new Problem(401, 'TOKEN_INVALID', 'This token is not known here.')
    }
    request.customer = customer
  })
}

export default fp(authentication, { name: 'authentication', dependencies: ['pool'] })

export async function seedDemoCustomers (client: ClientBase): Promise<void> {
  for (const [name, token] of Object.entries(DEMO_TOKENS)) {
    await client.query('INSERT INTO customers (name, token_hash) VALUES ($1, $2) ON CONFLICT DO NOTHING',
      [name, hash(token)])
  }
}

function hash (token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
