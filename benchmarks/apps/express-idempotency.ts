import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import type { ErrorRequestHandler, Request, Response } from 'express'
import { getSharedIdempotencyService, idempotency } from 'express-idempotency'
import type { IIdempotencyDataAdapter } from 'express-idempotency'
import adapter from 'express-idempotency-redis-adapter'
import { handlerOf } from './shared.ts'
import type { Work } from './shared.ts'

/** `express-idempotency` with its Redis adapter, on the framework that it is made for. */
export async function expressIdempotencyApp (
  redisUrl: string,
  work: Work
): Promise<{ listen (): Promise<string>, close (): Promise<void> }> {
  const { default: RedisAdapter } = adapter
  const dataAdapter = new RedisAdapter({ connectionConfig: { url: redisUrl } })
  await dataAdapter.connect()
  const answer = handlerOf(work)
  const app = express()
  app.use(express.json())
  app.use(idempotency({ dataAdapter: dataAdapter as IIdempotencyDataAdapter }))
  app.post('/pay', async (request: Request, response: Response) => {
    if (getSharedIdempotencyService().isHit(request)) return
    response.json(await answer(request))
  })
  const onError: ErrorRequestHandler = (error: Error, _request, response, _next) => {
    if (!response.headersSent) response.json({ error: error.message })
  }
  app.use(onError)
  let server: Server | undefined
  return {
    listen: () => new Promise((resolve) => {
      server = app.listen(0, '127.0.0.1', () => {
        resolve(`http://127.0.0.1:${(server?.address() as AddressInfo).port}`)
      })
    }),
    async close () {
      server?.closeAllConnections()
      server?.close()
      await dataAdapter.disconnect()
    }
  }
}
