import Fastify from 'fastify'
import formbody from '@fastify/formbody'
import type { Test } from 'tap'
import { SANDBOX_API_KEY } from '../../demo-app/config.ts'
import type { TestGateway } from '../demo/helper.ts'

export interface Reply {
  status: number
  json: Record<string, unknown>
}

/** Calls the gateway as a merchant does. */
export function merchantOf ({ url }: TestGateway, apiKey = SANDBOX_API_KEY) {
  const call = async (path: string, body?: object): Promise<Reply> => {
    const response = await fetch(url + path, {
      headers: { authorization: `Bearer ${apiKey}`, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { method: 'POST', body: JSON.stringify(body) })
    })
    return { status: response.status, json: await response.json() as Reply['json'] }
  }
  return {
    charge: (number: string, body: object = {}) => call('/v1/charges', { number, amount: 1999, currency: 'EUR', method: 'card', ...body }),
    query: (number: string) => call(`/v1/charges/${number}`),
    close: (number: string) => call(`/v1/charges/${number}/close`, {}),
    refund: (number: string, chargeNumber: string, amount = 1999, body: object = {}) => call('/v1/refunds', { number, chargeNumber, amount, ...body }),
    queryRefund: (number: string) => call(`/v1/refunds/${number}`),
    call
  }
}

export interface Inbox {
  url: string
  /** The forms that came, in the order in which they did. */
  forms: Array<Record<string, string>>
}

/** A merchant's server that is told of payments. `answer` is what it says to the nth notification. */
export async function startInbox (t: Test, answer: (n: number) => string | Promise<string> = () => 'success'): Promise<Inbox> {
  const forms: Inbox['forms'] = []
  const app = Fastify({ forceCloseConnections: true })
  await app.register(formbody)
  app.post('/', async request => answer(forms.push(request.body as Record<string, string>)))
  t.teardown(() => app.close())
  return { url: `${await app.listen({ host: '127.0.0.1', port: 0 })}/`, forms }
}
