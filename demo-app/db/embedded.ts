import { PGlite } from '@electric-sql/pglite'
import type { ExecProtocolOptionsStream } from '@electric-sql/pglite'
import { PGLiteSocketServer } from '@electric-sql/pglite-socket'

/** More than the app's pool and its migrations open together. */
const MAX_CONNECTIONS = 32

export interface EmbeddedDatabase {
  url: string
  close (): Promise<void>
}

/**
 * Starts Postgres inside this process, in memory, behind a real socket on a free port of the loopback interface. The
 * app uses it with the same `pg` as any other Postgres.
 */
export async function startEmbeddedDatabase (): Promise<EmbeddedDatabase> {
  const db = new SharedPGlite()
  await db.waitReady
  const server = new PGLiteSocketServer({ db, host: '127.0.0.1', port: 0, maxConnections: MAX_CONNECTIONS })
  await server.start()
  return {
    url: `postgres://postgres@${server.getServerConn()}/postgres?sslmode=disable`,
    async close () {
      await server.stop()
      await db.close()
    }
  }
}

/**
 * PGlite is one session, which the socket server shares between all connections, one protocol message at a time. The
 * server stays with a connection that is in a transaction, but not with one that is between the messages of one query
 * with parameters (Parse, Bind, Describe, Execute, Sync). So two connections could answer each other's queries
 * (electric-sql/pglite#1046). This class prevents that: until the Sync it also reports such a query as a transaction.
 */
class SharedPGlite extends PGlite {
  #insideQuery = false

  override isInTransaction (): boolean {
    return this.#insideQuery || super.isInTransaction()
  }

  override execProtocolRawStream (message: Uint8Array, options: ExecProtocolOptionsStream): Promise<void> {
    this.#insideQuery = 'PBDECFH'.includes(String.fromCharCode(message[0] ?? 0))
    return super.execProtocolRawStream(message, options)
  }

  /** The socket server calls it with ROLLBACK for a connection that ended in the middle of a query. */
  override exec (...args: Parameters<PGlite['exec']>): ReturnType<PGlite['exec']> {
    this.#insideQuery = false
    return super.exec(...args)
  }
}
