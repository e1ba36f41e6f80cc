import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { handlerOf, routeOptions } from './shared.ts'
import type { Work } from './shared.ts'

/** The route as it is, in an app without any idempotency. */
export async function bareApp (work: Work): Promise<FastifyInstance> {
  const app = Fastify()
  app.post('/pay', routeOptions(work), handlerOf(work))
  return app
}
