import postgres from '@fastify/postgres'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

export interface PoolOptions {
  databaseUrl: string
  /** PGlite is one session however many connections there are, and has no timers. */
  embedded: boolean
}

/** The connections to the database, as `app.pg`. They close with the app, when its last request is answered. */
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

  // The pool replaces a connection that is lost. All that is ours is not to let its "error" event end the process.
  app.pg.pool.on('error', error => app.log.error({ err: error }, 'an idle database connection was lost'))
  // While a request holds a connection the pool does not listen. The request's own query fails and tells.
  app.pg.pool.on('connect', client => client.on('error', () => {}))
}, { name: 'pool' })
