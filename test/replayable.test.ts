import t from 'tap'
import type { IdempotencyOptions } from '../plugin/index.ts'
import { build } from './helper.ts'

type Replayable = NonNullable<IdempotencyOptions['replayable']>

for (const [what, asynchronous] of [['', false], [', asynchronously', true]] as const) {
  t.test(`what "replayable" says decides what is kept${what}`, async (t) => {
    const says = (statusCode: number): boolean => statusCode !== 201
    const { app, listen } = await build(t, { replayable: asynchronous ? async statusCode => says(statusCode) : says })
    let runs = 0
    for (const status of [200, 201]) {
      app.post(`/${status}`, { config: { idempotency: true } }, async (_request, reply) => {
        reply.code(status)
        return { run: ++runs }
      })
    }
    const client = await listen()
    for (const path of ['/200', '/201']) await client.post(path, path)
    t.match(await client.post('/200', '/200'), { status: 200, replayed: true, text: '{"run":1}' })
    t.match(await client.post('/201', '/201'), { status: 201, replayed: false, text: '{"run":3}' })
  })
}

/** Functions as a user without types may write them. */
const WRONG: Record<string, () => unknown> = {
  throws: () => { throw new Error('broken') },
  'returns a promise that is rejected': () => Promise.reject(new Error('broken')),
  'returns a number': () => 1,
  'returns text': () => 'no',
  'returns nothing': () => undefined,
  'returns a promise of a number': async () => 0
}

for (const [what, replayable] of Object.entries(WRONG)) {
  t.test(`if "replayable" ${what} its default decides, and the log says so`, async (t) => {
    const { app, listen, logged } = await build(t, { replayable: replayable as Replayable })
    let runs = 0
    app.post('/pay', { config: { idempotency: true } }, async () => ({ run: ++runs }))
    app.post('/fails', { config: { idempotency: true } }, async (_request, reply) =>
      reply.code(500).send({ run: ++runs })
    )
    const client = await listen()
    t.equal((await client.post('/pay', 'k')).text, '{"run":1}')
    t.match(await client.post('/pay', 'k'), { replayed: true, text: '{"run":1}' })
    for (const run of [2, 3]) {
      t.match(await client.post('/fails', 'f'), { status: 500, replayed: false, text: `{"run":${run}}` })
    }
    t.ok(
      logged.some(
        ({ level, msg }) =>
          level === 50 && msg === 'idempotency: the option "replayable" of POST /pay failed, its default decides'
      )
    )
  })
}
