import { createRequire } from 'node:module'
import { gate } from '../helper.ts'

/*
 * A service that answers with a card number, watched by a real tracer, while Redis does and does not take its answers.
 * Prints everything that the tracer would send, one JSON document on each line. tracers.test.ts starts it in a process
 * of its own, since tracers patch ioredis when it is loaded first.
 */
const require = createRequire(import.meta.url)
const CARD = process.env.CARD as string

interface Tracer {
  /** Everything that the tracer would send. */
  sent (): Promise<unknown[]>
}

const TRACERS: Record<string, () => Tracer> = {
  opentelemetry () {
    const { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } =
      require('@opentelemetry/sdk-trace-base') as typeof import('@opentelemetry/sdk-trace-base')
    const { IORedisInstrumentation } =
      require('@opentelemetry/instrumentation-ioredis') as typeof import('@opentelemetry/instrumentation-ioredis')
    const exporter = new InMemorySpanExporter()
    const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
    // By default it needs a parent span, which the instrumentation of a server would create.
    new IORedisInstrumentation({ requireParentSpan: false }).setTracerProvider(tracerProvider)
    return {
      sent: async () =>
        exporter
          .getFinishedSpans()
          .map(({ name, attributes, events, status }) => ({ name, attributes, events, status }))
    }
  },
  sentry () {
    const Sentry = require('@sentry/node') as typeof import('@sentry/node')
    const envelopes: unknown[] = []
    Sentry.init({
      dsn: 'http://key@127.0.0.1/1',
      tracesSampleRate: 1,
      transport: () => ({
        send: async (envelope) => {
          envelopes.push(envelope)
          return {}
        },
        flush: async () => true
      })
    })
    return {
      async sent () {
        await Sentry.flush()
        return envelopes
      }
    }
  }
}

const tracer = (TRACERS[process.argv[2] ?? ''] as () => Tracer)()
const { Redis } = require('ioredis') as typeof import('ioredis')
const { default: Fastify } = await import('fastify')
const { default: idempotency } = await import('../../plugin/index.ts')

const url = process.env.REDIS_URL as string
const redis = new Redis(url, { enableAutoPipelining: true })
// The plugin calls the methods of a client that somebody has patched.
if (process.argv[3] === 'patched') redis.getBuffer = redis.getBuffer.bind(redis)
const admin = new Redis(url)
const app = Fastify({ logger: true })
const keyPrefix = process.env.KEY_PREFIX as string
await app.register(idempotency, { redis, scope: 'global', keyPrefix, storeTimeout: 60_000 })
let finish = gate()
app.post('/pay', { config: { idempotency: true } }, async () => {
  await finish.opened
  return { card: CARD }
})

const pay = (key: string) =>
  app.inject({ method: 'POST', url: '/pay', headers: { 'idempotency-key': key }, payload: { card: CARD } })

finish.open()
await pay('first')
await pay('first')
finish = gate()
const refused = pay('refused')
while (app.idempotency.stats().running === 0) await new Promise(setImmediate)
await admin.config('SET', 'maxmemory', '1')
finish.open()
await refused
await pay('another')
await admin.config('SET', 'maxmemory', '0')
await app.close()
for (const sent of await tracer.sent()) process.stdout.write(`${JSON.stringify(sent)}\n`)
process.exit()
