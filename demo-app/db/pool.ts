import postgres from '@fastify/postgres'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

export interface PoolOptions {
  databaseUrl: string
  /** Whether the database is PGlite, which is one session for all connections and has no timeouts. */
  embedded: boolean
}

/** The connections to the database, as `app.pg`. They close with the app, after its last request. */
export default fp(async function pool (app: FastifyInstance, { databaseUrl, embedded }: PoolOptions) {
  await app.register(postgres, {
    connectionString: databaseUrl,
    ...(embedded
      ? { max: 4 }
      : {
          max: 10,
          connectionTimeoutMillis: 10_000,
          statement_timeout: 30_000,
          // A process that hangs in the middle of a payment must not keep the order's row locked.
          idle_in_transaction_session_timeout: 5_000
        })
  })

  // The pool replaces a lost connection itself. Without a listener, the "error" event would end the process.
  app.pg.pool.on('error', error => app.log.error({ err: error }, 'an idle database connection was lost'))
  // The pool does not listen while a request holds a connection. The query of that request fails and reports the error.
  app.pg.pool.on('connect', client => client.on('error', () => {}))
}, { name: 'pool' })
