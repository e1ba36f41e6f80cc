import { once } from 'node:events'
import { connect, constants } from 'node:http2'
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2'
import { text } from 'node:stream/consumers'
import Fastify from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import idempotency from '../plugin/index.ts'
import type { RawAnswer } from './connection.ts'
import { connectRedis, gate, newPrefix, until } from './helper.ts'

const OWN_ANSWER: RawAnswer = { status: 200, replayed: true, body: '{"run":1}' }
const CONFLICT = { status: 409, body: /FST_IDEMPOTENCY_IN_PROGRESS/ }

interface Http2Service {
  session: ClientHttp2Session
  again (): ClientHttp2Session
  runs (): number
  waited (): number
  finish (): void
}

/** An app that speaks HTTP/2 without TLS, and a session with it. */
async function startHttp2 (t: Test): Promise<Http2Service> {
  const app = Fastify({ http2: true })
  t.teardown(() => app.close())
  const keyPrefix = newPrefix()
  const redis = connectRedis(t, { prefix: keyPrefix })
  await app.register(idempotency, { waitTimeout: 3_600_000, storeTimeout: 60_000, keyPrefix, redis, scope: 'global' })
  const { opened, open: finish } = gate()
  let runs = 0
  app.post('/x', { config: { idempotency: true } }, async () => {
    const run = ++runs
    await opened
    return { run }
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const again = (): ClientHttp2Session => {
    const session = connect(url)
    session.on('error', () => {})
    t.teardown(() => session.destroy())
    return session
  }
  return { session: again(), again, runs: () => runs, waited: () => app.idempotency.stats().waited, finish }
}

function postHttp2 (session: ClientHttp2Session, key: string): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST', ':path': '/x', 'idempotency-key': key, 'content-type': 'application/json'
  })
  stream.on('error', () => {})
  stream.end('{}')
  return stream
}

async function answerHttp2 (stream: ClientHttp2Stream): Promise<RawAnswer> {
  const [headers] = await once(stream, 'response') as [Record<string, string | number>]
  const replayed = headers['idempotent-replayed'] === 'true'
  return { status: Number(headers[':status']), replayed, body: await text(stream) }
}

t.test('a stream of HTTP/2 that is reset is a client that has left, the others of its session are not', async (t) => {
  const { session, runs, waited, finish } = await startHttp2(t)
  const [left, stays] = [postHttp2(session, 'k1'), postHttp2(session, 'k2')]
  const answer = answerHttp2(stays)
  await until(() => runs() === 2, 'both running')
  left.close(constants.NGHTTP2_CANCEL)
  const retry = answerHttp2(postHttp2(session, 'k1'))
  await until(() => waited() === 1, 'the duplicate of the stream that was reset waiting')
  t.match(await answerHttp2(postHttp2(session, 'k2')), CONFLICT)
  finish()
  t.same(await retry, OWN_ANSWER)
  t.match(await answer, { status: 200, replayed: false, body: '{"run":2}' })
  t.equal(runs(), 2)
})

t.test('all streams of an HTTP/2 session that breaks are sent again and get their runs’ answers', async (t) => {
  const { session, again, runs, waited, finish } = await startHttp2(t)
  for (const key of ['k1', 'k2', 'k3']) {
    postHttp2(session, key)
    await until(() => runs() === Number(key[1]), 'it running')
  }
  session.destroy()
  const next = again()
  const answers = ['k1', 'k2', 'k3'].map(key => answerHttp2(postHttp2(next, key)))
  await until(() => waited() === 3, 'the duplicates waiting')
  finish()
  t.same(await Promise.all(answers), [1, 2, 3].map(run => ({ ...OWN_ANSWER, body: `{"run":${run}}` })))
  t.equal(runs(), 3)
})
