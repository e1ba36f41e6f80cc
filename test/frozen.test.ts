import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { putClockForward } from './clock.ts'
import { build, connectRedis, MemoryStore, newPrefix, REDIS_URL, until } from './helper.ts'
import { IMPORT_TYPESCRIPT } from './typescript/import.ts'

// Processes that stood still: a paused instance, a blocked event loop.

/** Milliseconds: longer than Redis takes to answer on a machine that is busy with other things. */
const STORE_TIMEOUT = 3_000

/** Keeps this process from doing anything else. */
function block (milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
}

t.test('a handler that goes on after its lease is told by its signal, whichever timer comes first', async (t) => {
  const { app, listen, logged } = await build(t, { store: new MemoryStore(), lease: 60_000 })
  const forward = putClockForward(t)
  const seen: boolean[] = []
  let thrown: unknown
  app.post('/x', { config: { idempotency: true } }, async (request) => {
    const signal = request.idempotency?.signal as AbortSignal
    seen.push(signal.aborted)
    const woken = sleep(1)
    // Nothing else happens in the meantime, as in a process that stands still.
    forward(60_000)
    await woken
    seen.push(signal.aborted)
    try {
      signal.throwIfAborted()
    } catch (error) {
      thrown = error
    }
    return 'done'
  })
  t.equal((await (await listen()).post('/x', 'k')).text, 'done')
  t.same(seen, [false, true])
  t.match(thrown, { name: 'LeaseLostError', code: 'FST_IDEMPOTENCY_LEASE_LOST' })
  t.ok(logged.length > 0)
})

t.test('a process that was stopped for longer than its lease does not act beside the next attempt', async (t) => {
  const prefix = newPrefix()
  connectRedis(t, { prefix })
  const child = spawn(process.execPath, [IMPORT_TYPESCRIPT, resolve(import.meta.dirname, 'processes/frozen-app.ts')], {
    env: { ...process.env, REDIS_URL, KEY_PREFIX: prefix }, stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => child.kill('SIGKILL'))
  const lines: string[] = []
  const output = createInterface(child.stdout)
  output.on('line', line => lines.push(line))
  await until(() => lines.length > 0, 'the other process listening')
  const url = lines[0] ?? ''
  const first = fetch(`${url}/x`, { method: 'POST', headers: { 'idempotency-key': 'k' } })
  await until(() => lines.includes('running'))
  child.kill('SIGSTOP')
  const stopped = performance.now()
  const { app, listen } = await build(t, { keyPrefix: prefix, lease: 1_000 })
  app.post('/x', { config: { idempotency: true } }, async request => `attempt ${request.idempotency?.attempt}`)
  const client = await listen()
  await until(async () => (await client.post('/x', 'k')).text === 'attempt 2', 'the take-over')
  await until(() => performance.now() - stopped > 3_500, 'more time than its lease')
  child.kill('SIGCONT')
  t.equal(await (await first).text(), 'aborted: true')
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
})

for (const connected of [true, false]) {
  t.test('an event loop that was blocked for longer than storeTimeout is not taken for a dead store ' +
    `(${connected ? 'connected' : 'connecting'})`, async (t) => {
    const redis = connectRedis(t)
    if (connected) await until(() => redis.status === 'ready')
    const { app, listen } = await build(t, { redis, keyPrefix: newPrefix(), storeTimeout: STORE_TIMEOUT })
    let runs = 0
    app.post('/x', { config: { idempotency: true } }, async () => `run ${++runs}`)
    app.addHook('preHandler', async () => {
    // After the claim was sent, and before its answer can be read.
      setImmediate(() => { block(STORE_TIMEOUT + 500) })
    })
    const client = await listen()
    t.match(await client.post('/x', 'k'), { status: 200, text: 'run 1' })
    t.equal(app.idempotency.stats().storeErrors, 0)
  })
}

t.test('with bypass a blocked event loop does not let a second handler run beside the first', async (t) => {
  const keyPrefix = newPrefix()
  const options = { keyPrefix, storeTimeout: STORE_TIMEOUT, onStoreError: 'bypass', onConflict: 'reject' } as const
  const owner = await build(t, options)
  let finish!: () => void
  const held = new Promise<void>((resolve) => { finish = resolve })
  t.teardown(() => { finish() })
  let runs = 0
  const handler = async (): Promise<string> => {
    runs++
    await held
    return 'done'
  }
  owner.app.post('/x', { config: { idempotency: true } }, handler)
  const a = await owner.listen()
  const first = a.post('/x', 'k')
  await until(() => runs === 1)
  const other = await build(t, options)
  other.app.addHook('preHandler', async () => { setImmediate(() => { block(STORE_TIMEOUT + 500) }) })
  other.app.post('/x', { config: { idempotency: true } }, handler)
  t.equal((await (await other.listen()).post('/x', 'k')).json.code, 'FST_IDEMPOTENCY_IN_PROGRESS')
  finish()
  t.equal((await first).text, 'done')
  t.equal(runs, 1)
})
