import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Books } from './books.ts'
import { FaultBody } from './schemas.ts'

/** What only a sandbox offers: a client can set faults and read the provider's books. */
export const sandboxRoutes: FastifyPluginAsyncTypebox<Books> = async (app, { ledger, faults, notifier }) => {
  app.post('/sandbox/faults', { schema: { body: FaultBody } }, async (request, reply) => {
    faults.add({ times: 1, delayMs: 0, ...request.body })
    return reply.code(204).send()
  })

  app.delete('/sandbox/faults', async (_request, reply) => {
    faults.clear()
    return reply.code(204).send()
  })

  app.get('/sandbox/ledger', async () => ({
    charges: [...ledger.charges.values()],
    refunds: [...ledger.refunds.values()],
    notifications: notifier.deliveries,
    faultsWaiting: faults.count
  }))
}
