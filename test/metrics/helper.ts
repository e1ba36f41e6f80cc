import type { FastifyInstance } from 'fastify'
import { Registry } from 'prom-client'
import type { Test } from 'tap'
import { idempotencyMetrics } from '../../plugin/observe/metrics/index.ts'
import type { IdempotencyMetricsOptions } from '../../plugin/observe/metrics/index.ts'
import { build } from '../helper.ts'
import type { Client, TestApp } from '../helper.ts'

export interface Measured {
  app: FastifyInstance
  register: Registry
  stop: () => void
  /** Listens, and sends requests there. */
  listen (): Promise<Client>
  passTime: TestApp['passTime']
  /** What `GET /metrics` returns, as a Prometheus server would read it: the value of each series. */
  scrape (): Promise<Record<string, number>>
}

/** An app that is measured, with a registry of its own. The gauges of the app are included only if `gauges` is set. */
export async function buildMeasured (
  t: Test,
  options: Parameters<typeof build>[1] = {},
  { gauges = false, ...metrics }: IdempotencyMetricsOptions & { gauges?: boolean } = {}
): Promise<Measured> {
  const { app, listen, passTime } = await build(t, options)
  const register = new Registry()
  const stop = idempotencyMetrics({ register, ...metrics, ...(gauges && { idempotency: app.idempotency }) })
  t.teardown(stop)
  app.get('/metrics', async (_request, reply) => reply.type(register.contentType).send(await register.metrics()))
  let client: Client
  return {
    app,
    register,
    stop,
    passTime,
    async listen () {
      client = await listen()
      return client
    },
    scrape: async () => seriesOf((await client.get('/metrics')).text)
  }
}

/** The value of each series, named as it is exposed: `idempotency_requests_total{route="POST /x",result="claimed"}`. */
export function seriesOf (exposition: string): Record<string, number> {
  const lines = exposition.split('\n').filter(line => line !== '' && !line.startsWith('#'))
  return Object.fromEntries(lines.map((line) => {
    const end = line.lastIndexOf(' ')
    return [line.slice(0, end), Number(line.slice(end + 1))]
  }))
}

/** The series of a metric that have counted something. */
export function counted (series: Record<string, number>, name: string): Record<string, number> {
  return Object.fromEntries(Object.entries(series).filter(([key, value]) => key.startsWith(`${name}{`) && value !== 0))
}
