import { context, diag, DiagLogLevel, trace } from '@opentelemetry/api'
import type { Attributes, Span } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor
} from '@opentelemetry/sdk-trace-base'
import type { ReadableSpan, Sampler } from '@opentelemetry/sdk-trace-base'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Test } from 'tap'
import { idempotencyTracing } from '../../plugin/observe/opentelemetry/index.ts'
import type { IdempotencyTracingOptions } from '../../plugin/observe/opentelemetry/index.ts'
import { build, until } from '../helper.ts'
import type { Client, TestApp } from '../helper.ts'

const exporter = new InMemorySpanExporter()
let sampler: Sampler = new AlwaysOnSampler()
trace.setGlobalTracerProvider(new BasicTracerProvider({
  spanProcessors: [new SimpleSpanProcessor(exporter)],
  sampler: { shouldSample: (...args) => sampler.shouldSample(...args), toString: () => 'of the test' }
}))
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())

/** The complaints of the SDK, such as one about an event for a span that has ended. */
export const complaints: unknown[] = []
const complain = (...what: unknown[]): void => { complaints.push(what) }
diag.setLogger(
  { error: complain, warn: complain, info () {}, debug () {}, verbose () {} },
  { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true }
)

const kSpan = Symbol('span')

declare module 'fastify' {
  interface FastifyRequest {
    [kSpan]?: Span
  }
}

export interface Traced {
  app: FastifyInstance
  stop: () => void
  listen (): Promise<Client>
  passTime: TestApp['passTime']
  /** The span of the request that was sent with this `x-request` header, once it has ended. */
  spanOf (name: string): Promise<ReadableSpan>
}

/** An app in which each request has a server span: the first hook starts it and the last hook ends it. */
export async function buildTraced (
  t: Test,
  options: Parameters<typeof build>[1] = {},
  {
    tracing = {},
    traced = () => true,
    sampled = new AlwaysOnSampler()
  }: { tracing?: IdempotencyTracingOptions, traced?: (request: FastifyRequest) => boolean, sampled?: Sampler } = {}
): Promise<Traced> {
  sampler = sampled
  exporter.reset()
  complaints.length = 0
  const stop = idempotencyTracing(tracing)
  t.teardown(stop)
  const { app, listen, passTime } = await build(t, options, (app) => {
    app.addHook('onRequest', function startSpan (request, _reply, done) {
      if (!traced(request)) return done()
      const span = trace.getTracer('test').startSpan(String(request.headers['x-request'] ?? 'request'))
      request[kSpan] = span
      context.with(trace.setSpan(context.active(), span), done)
    })
    app.addHook('onResponse', function endSpan (request, _reply, done) {
      request[kSpan]?.end()
      done()
    })
  })
  return {
    app,
    stop,
    listen,
    passTime,
    async spanOf (name) {
      const find = (): ReadableSpan | undefined => exporter.getFinishedSpans().find(span => span.name === name)
      await until(find, `the end of the span ${name}`)
      return find() as ReadableSpan
    }
  }
}

/** Sends a request with a name of its own, which is also the name of its span. */
export const named = (name: string): Record<string, string> => ({ 'x-request': name })

export interface SpanEvent {
  name: string
  attributes: Attributes
}

export function eventsOf (span: ReadableSpan): SpanEvent[] {
  return span.events.map(({ name, attributes = {} }) => ({ name, attributes }))
}

export function eventNames (span: ReadableSpan): string[] {
  return span.events.map(({ name }) => name)
}
