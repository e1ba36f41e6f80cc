import formbody from '@fastify/formbody'
import Fastify from 'fastify'
import type { Test } from 'tap'
import { buildSandboxProvider } from '../../sandbox-provider/app.ts'
import type { SandboxProviderOptions } from '../../sandbox-provider/app.ts'
import type { Fault } from '../../sandbox-provider/faults.ts'
import type { Charge, Refund } from '../../sandbox-provider/ledger.ts'
import type { Delivery } from '../../sandbox-provider/notifier.ts'
import { SANDBOX_API_KEY } from '../../sandbox-provider/settings.ts'
import { generateKeys } from '../../sandbox-provider/signature.ts'

/** Made once and short, because keys of full length take longer to make than most tests take to run. */
export const PROVIDER_KEYS = generateKeys(1024)

export interface SandboxLedger {
  charges: Charge[]
  refunds: Refund[]
  notifications: Delivery[]
  faultsWaiting: number
}

export interface TestSandbox {
  url: string
  /** The options with which an app reaches it. */
  options: { url: string, apiKey: string }
  /** Sets a fault. */
  fault (fault: Partial<Fault> & Pick<Fault, 'kind'>): Promise<void>
  ledger (): Promise<SandboxLedger>
  close (): Promise<unknown>
}

/** The sandbox provider on a real socket. It repeats its notifications within seconds. */
export async function startSandboxProvider (
  t: Test,
  options: Partial<SandboxProviderOptions> = {}
): Promise<TestSandbox> {
  const app = await buildSandboxProvider({
    apiKey: SANDBOX_API_KEY,
    keys: PROVIDER_KEYS,
    notify: { scale: 1e-4 },
    ...options
  })
  t.teardown(() => app.close())
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const headers = { authorization: `Bearer ${SANDBOX_API_KEY}`, 'content-type': 'application/json' }
  return {
    url,
    options: { url, apiKey: SANDBOX_API_KEY },
    async fault (fault) {
      const { status } = await fetch(`${url}/sandbox/faults`, { method: 'POST', headers, body: JSON.stringify(fault) })
      if (status !== 204) throw new Error(`the sandbox provider refused the fault: ${status}`)
    },
    async ledger () {
      const response = await fetch(`${url}/sandbox/ledger`, { headers })
      return await response.json() as SandboxLedger
    },
    close: () => app.close()
  }
}

export interface Reply {
  status: number
  json: Record<string, unknown>
}

/** Calls the sandbox provider as a merchant does. */
export function merchantOf ({ url }: TestSandbox, apiKey = SANDBOX_API_KEY) {
  const call = async (path: string, body?: object): Promise<Reply> => {
    const response = await fetch(url + path, {
      headers: { authorization: `Bearer ${apiKey}`, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { method: 'POST', body: JSON.stringify(body) })
    })
    return { status: response.status, json: await response.json() as Reply['json'] }
  }
  return {
    charge: (number: string, body: object = {}) =>
      call('/v1/charges', { number, amount: 1999, currency: 'EUR', method: 'card', ...body }),
    query: (number: string) => call(`/v1/charges/${number}`),
    close: (number: string) => call(`/v1/charges/${number}/close`, {}),
    refund: (number: string, chargeNumber: string, amount = 1999, body: object = {}) =>
      call('/v1/refunds', { number, chargeNumber, amount, ...body }),
    queryRefund: (number: string) => call(`/v1/refunds/${number}`),
    call
  }
}

export interface Inbox {
  url: string
  /** The forms that arrived, in their order. */
  forms: Array<Record<string, string>>
}

/**
 * A merchant's server for notifications.
 * @param answer to the nth notification
 */
export async function startInbox (
  t: Test,
  answer: (n: number) => string | Promise<string> = () => 'success'
): Promise<Inbox> {
  const forms: Inbox['forms'] = []
  const app = Fastify({ forceCloseConnections: true })
  await app.register(formbody)
  app.post('/', async request => answer(forms.push(request.body as Record<string, string>)))
  t.teardown(() => app.close())
  return { url: `${await app.listen({ host: '127.0.0.1', port: 0 })}/`, forms }
}
