import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Validator } from '@seriousme/openapi-schema-validator'
import { context, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import t from 'tap'
import { channels } from '../../plugin/observe/channels.ts'
import { until } from '../helper.ts'
import { listen } from './given.ts'
import { cellsOf, readPage, ROOT } from './markdown.ts'
import { testPage } from './run.ts'

const page = await readPage('docs/observability.md')

/** The rows of the table whose head this is. */
function rowsOf (head: string): string[][] {
  const [, table = ''] = page.text.split(`\n${head}\n`)
  return table.split('\n\n', 1)[0]?.split('\n').slice(1).map(cellsOf) ?? []
}

/** What a row is about: its first cell's code. */
function namesIn (head: string): string[] {
  return rowsOf(head).map(([cell = '']) => cell.replaceAll('`', ''))
}

const METRICS = '| metric | labels | what |'

await testPage('docs/observability.md', {
  async 'Channels' (t, { protectedApp, replays }) {
    const client = await listen(t, protectedApp)
    for (const key of ['a', 'a', 'a', 'b']) await client.post('/orders/17/pay', key)
    t.same([...replays], [['POST /orders/:id/pay', 2]])
  },

  async 'Metrics' (t, { protectedApp, register, stop }) {
    t.teardown(stop)
    const client = await listen(t, protectedApp)
    await client.post('/orders/17/pay', 'k')
    await client.post('/orders/17/pay', 'k')
    const { text } = await client.get('/metrics')
    t.match(text, /^idempotency_requests_total\{route="POST \/orders\/:id\/pay",result="cached"\} 1$/m)
    t.match(text, /^idempotency_runs_running 0$/m)
    const metrics = register.getMetricsAsArray()
    t.same(metrics.map(({ name }) => name).sort(), namesIn(METRICS).sort(), 'all of them are documented')
    for (const [name = '', labels = ''] of rowsOf(METRICS)) {
      const documented = labels.split(',').flatMap(label => /^ ?`(\w+)`/.exec(label)?.[1] ?? [])
      const { labelNames = [] } = register.getSingleMetric(name.replaceAll('`', '')) as { labelNames?: string[] }
      t.ok(labelNames.every(label => documented.includes(label)), `${name}: ${labelNames.join(', ')}`)
    }
  },

  async 'Traces' (t, { protectedApp, stop }) {
    t.teardown(stop)
    const exporter = new InMemorySpanExporter()
    const tracer = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).getTracer('test')
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    protectedApp.addHook('onRequest', (_request, reply, done) => {
      const span = tracer.startSpan('request')
      reply.raw.once('close', () => span.end())
      context.with(trace.setSpan(context.active(), span), done)
    })
    const client = await listen(t, protectedApp)
    await client.post('/orders/17/pay', 'k')
    await client.post('/orders/17/pay', 'k')
    await until(() => exporter.getFinishedSpans().length === 2, 'both spans')
    const [first, second] = exporter.getFinishedSpans()
    t.match(first?.attributes, {
      'idempotency.attempt': 1,
      'idempotency.replayed': false,
      'idempotency.scope': undefined
    })
    t.same(second?.events.map(({ name }) => name), ['idempotency.replayed'])
    const told = [first, second].flatMap(span => [
      span?.attributes,
      ...(span?.events.map(({ attributes }) => attributes) ?? [])
    ])
    for (const name of Object.keys(Object.assign({}, ...told) as object)) t.ok(page.text.includes(`\`${name}\``), name)
  },

  async 'OpenAPI' (t, { document }) {
    t.match(document, /in: header\n\s+name: idempotency-key\n\s+required: true/)
    t.match(await new Validator().validate(document), { valid: true })
  }
})

t.test('all channels are documented', async (t) => {
  t.same(
    namesIn('| channel `fastify-idempotency:…` | when | `duration` of | further fields |').sort(),
    Object.keys(channels).sort()
  )
})

t.test('alerts and queries ask for metrics that there are, with their labels', async (t) => {
  const metrics = new Map(rowsOf(METRICS).map(([name = '', labels = '']) => [name.replaceAll('`', ''), labels]))
  const queries = [
    ...page.blocks.filter(({ language }) => language === 'yaml').map(({ code }) => code),
    ...page.text.matchAll(/`([^`]*\([^`]*idempotency_[^`]*)`/g)
  ].map(String)
  t.ok(queries.length >= 4, `${queries.length} texts with queries`)
  for (const query of queries) {
    for (const [, name = '', filter = ''] of query.matchAll(
      /\b(idempotency_[a-z_]+?)(?:_bucket|_count|_sum)?\b(?:\{(\w+)=)?/g
    )) {
      const labels = metrics.get(name)
      t.ok(labels !== undefined && labels.includes(filter), `${name} ${filter}`)
    }
  }
})

/** A message in a call of the logger, in a failure of the store with its level, or of a mistake, which is an error. */
const LOGGED = /(?:log\.(\w+)\((?:(?!log\.).)*?|level: '(\w+)', message: |mistake: )(['`])(idempotency: .*?)\3/g

t.test('all messages of the log are documented, and no others', async (t) => {
  const messages = new Set<string>()
  for (const path of await readdir(join(ROOT, 'plugin'), { recursive: true })) {
    if (!path.endsWith('.ts')) continue
    // A message that is longer than a line is written in parts, and a call that is longer in several lines.
    const source = (await readFile(join(ROOT, 'plugin', path), 'utf8'))
      .replaceAll(/(['`]) \+\n *\1/g, '')
      .replaceAll(/` \+\n *'(.*?)'/g, '$1`')
      .replaceAll(/([({,])\n */g, '$1 ')
    for (const line of source.split('\n')) {
      for (const [, logs, says, , message = ''] of line.matchAll(LOGGED)) {
        messages.add(`${logs ?? says ?? 'error'} ${message.replaceAll(/\$\{[^}]*\}/g, '…')}`)
      }
    }
  }
  t.same(
    rowsOf('| level | message | when |')
      .map(([level, message]) => `${level} ${message}`)
      .sort(),
    [...messages].sort()
  )
})
