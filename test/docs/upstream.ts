import Fastify from 'fastify'
import type { Test } from 'tap'

/** A service that answers with what it was sent, and the how manieth call that was. */
export async function startUpstream (t: Test): Promise<string> {
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  let calls = 0
  app.post('/*', async ({ url, body }) => ({ call: ++calls, url, body }))
  app.get('/quote', async () => '5')
  return app.listen({ port: 0, host: '127.0.0.1' })
}
