import { randomUUID } from 'node:crypto'
import { AckPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { Queue, Worker } from 'bullmq'
import type { Job } from 'bullmq'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { testPage } from '../docs/run.ts'
import { gate, until } from '../helper.ts'
import { freePort } from '../servers/port.ts'
import { startRedis } from '../servers/redis.ts'
import { listens, ownDirectory, startDaemon } from './daemon.ts'
import { pathOf } from './programs.ts'

interface Message {
  id: string
  orderId: string
}

// The queues with the name that the page uses are deleted in the end, but not on a server that was given by the
// environment.
const redis = await startRedis()
t.teardown(() => redis.stop())

await testPage('docs/queues.md', {
  async BullMQ (t, { protectedApp, ship, worker, consume }) {
    const connection = { url: redis.url }
    const queue = new Queue<Message>('shipments', { connection })
    t.teardown(async () => {
      await worker.close()
      await queue.obliterate({ force: true })
      await queue.close()
    })
    const state = (job: Job, expected: string) =>
      until(async () => await job.getState() === expected, `the job being ${expected}`)
    const retries = { attempts: 2, backoff: 1 }

    t.test('a job is postponed while another consumer is at it, at the cost of no try, ' +
      'and gets its result', async (t) => {
      const message = newMessage()
      const other = await holdKey(protectedApp, message)
      const job = await queue.add('ship', message, retries)
      for (let deliveries = 1; deliveries <= 3; deliveries++) {
        await state(job, 'delayed')
        await until(async () => (await queue.getJob(job.id ?? ''))?.attemptsStarted === deliveries, 'the delivery')
        if (deliveries < 3) await job.promote()
      }
      const { attemptsMade, delay } = await queue.getJob(job.id ?? '') as Job
      t.same({ attemptsMade, delay }, { attemptsMade: 0, delay: 5_000 })
      other.finish()
      t.same(await other.ended, { parcel: 'of the other' })
      await job.promote()
      await state(job, 'completed')
      t.same((await queue.getJob(job.id ?? ''))?.returnvalue, { parcel: 'of the other' })
      t.equal(ship.calls, 0)
    })

    t.test('a postponed job does the work itself if the other consumer fails', async (t) => {
      const message = newMessage()
      const other = await holdKey(protectedApp, message)
      const job = await queue.add('ship', message, retries)
      await state(job, 'delayed')
      other.fail()
      await t.rejects(other.ended, { message: 'no connection' })
      await job.promote()
      await state(job, 'completed')
      t.equal(ship.calls, 1)
    })

    t.test('a job whose key was that of another message fails for good', async (t) => {
      const message = newMessage()
      const other = await holdKey(protectedApp, message)
      const job = await queue.add('ship', { ...message, orderId: '18' }, { attempts: 9, backoff: 1 })
      await state(job, 'failed')
      const { attemptsMade, failedReason } = await queue.getJob(job.id ?? '') as Job
      t.match({ attemptsMade, failedReason }, { attemptsMade: 1, failedReason: /key/ })
      other.finish()
    })

    t.test('why it is postponed: a consumer that throws uses up its tries while the other is at it', async (t) => {
      const name = `throws-${randomUUID()}`
      const naive = new Queue<Message>(name, { connection })
      const message = newMessage()
      const other = await holdKey(protectedApp, message)
      const throwing = new Worker<Message>(name, ({ data: { id: key, orderId } }) => {
        return protectedApp.idempotency.run({ scope: 'shipments', key, fingerprint: orderId }, () => 'done')
      }, { connection })
      const job = await naive.add('ship', message, { attempts: 5 })
      await until(async () => await job.getState() === 'failed', 'the job having failed')
      t.equal((await naive.getJob(job.id ?? ''))?.attemptsMade, 5)
      t.equal(protectedApp.idempotency.stats().running, 1, 'and nobody does it if that one fails')
      other.finish()
      await throwing.close()
      await naive.obliterate({ force: true })
      await naive.close()
    })

    t.test('a job that stalls while its consumer is at work is postponed, and gets the result of that', async (t) => {
      const name = `stalls-${randomUUID()}`
      const stalling = new Queue<Message>(name, { connection })
      const message = newMessage()
      const { opened, open } = gate()
      let deliveries = 0
      const errors: Error[] = []
      // Like a process that is blocked: it does not renew its lock.
      const options = {
        connection,
        concurrency: 2,
        lockDuration: 500,
        stalledInterval: 500,
        skipLockRenewal: true,
        maxStalledCount: 9
      }
      const blocked = new Worker<Message>(name, async (job, token) => {
        if (++deliveries > 1) return await consume(job, token)
        return await protectedApp.idempotency.run(
          { scope: 'shipments', key: message.id, fingerprint: message.orderId },
          async () => {
            await opened
            return { parcel: 'of the first' }
          }
        )
      }, options)
      blocked.on('error', error => errors.push(error))
      const job = await stalling.add('ship', message)
      await until(() => deliveries === 2, 'the second delivery')
      await until(async () => await job.getState() === 'delayed', 'the job being delayed')
      open()
      await until(() => errors.some(({ message }) => /Missing lock/.test(message)), 'the end of the first')
      await job.promote()
      await until(async () => await job.getState() === 'completed', 'the job being completed')
      t.same((await stalling.getJob(job.id ?? ''))?.returnvalue, { parcel: 'of the first' })
      await blocked.close()
      await stalling.obliterate({ force: true })
      await stalling.close()
    })
  },

  async 'pg-boss' (t, { protectedApp, ship, boss }) {
    t.teardown(() => boss.stop({ graceful: false }))
    const message = newMessage()
    const other = await holdKey(protectedApp, message)
    const id = await boss.send('shipments', message) ?? ''
    const job = () => boss.getJobById('shipments', id)
    await until(async () => (await job())?.state === 'retry', 'the job being postponed')
    const { startAfter, startedOn, retryLimit, retryDelay, retryCount } = await job() as PgBossJob
    t.same({ retryCount, retryLimit, retryDelay }, { retryCount: 0, retryLimit: 10, retryDelay: 5 })
    t.ok(retryLimit * retryDelay > 30, 'more than the lease')
    t.ok(startAfter.getTime() - startedOn.getTime() >= 5_000, `${startAfter.getTime() - startedOn.getTime()} ms`)
    other.fail()
    await t.rejects(other.ended)
    await until(async () => (await job())?.state === 'completed', 'the job being completed')
    t.equal(ship.calls, 1)
    t.equal((await job())?.retryCount, 1)
  },

  async 'NATS JetStream' (t, { protectedApp, ship, onDelivery }) {
    const nats = await connect({ servers: await startNats(t) })
    t.teardown(() => nats.close())
    const manager = await jetstreamManager(nats)
    await manager.streams.add({ name: 'shipments', subjects: ['shipments'] })
    await manager.consumers.add('shipments', { durable_name: 'shipper', ack_policy: AckPolicy.Explicit })
    const consumer = await jetstream(nats).consumers.get('shipments', 'shipper')
    const messages = await consumer.consume()
    const deliveries: number[] = []
    void (async () => {
      for await (const message of messages) {
        deliveries.push(performance.now())
        await onDelivery(message)
      }
    })()
    const message = newMessage()
    const other = await holdKey(protectedApp, message)
    await jetstream(nats).publish('shipments', JSON.stringify(message))
    await until(() => protectedApp.idempotency.stats().conflicts === 1, 'the first delivery being refused')
    other.fail()
    await t.rejects(other.ended)
    await until(
      async () => (await consumer.info()).num_ack_pending === 0 && ship.calls === 1,
      'the message being acknowledged'
    )
    t.equal(deliveries.length, 2)
    const [first = NaN, second = NaN] = deliveries
    t.ok(second - first > 4_900, `${second - first} ms`)
    await messages.close()
  }
}, { redisUrl: redis.url })

interface PgBossJob {
  startAfter: Date
  startedOn: Date
  retryLimit: number
  retryDelay: number
  retryCount: number
}

function newMessage (): Message {
  return { id: randomUUID(), orderId: '17' }
}

interface OtherConsumer {
  ended: Promise<unknown>
  finish (): void
  fail (): void
}

/** Another consumer that works on a message until it is asked to finish. */
async function holdKey ({ idempotency }: FastifyInstance, { id, orderId }: Message): Promise<OtherConsumer> {
  const { opened, open } = gate<Error | null>()
  const began = gate()
  const ended = idempotency.run({ scope: 'shipments', key: id, fingerprint: orderId }, async () => {
    began.open()
    const error = await opened
    if (error !== null) throw error
    return { parcel: 'of the other' }
  })
  ended.catch(() => {})
  await began.opened
  return { ended, finish: () => open(null), fail: () => open(new Error('no connection')) }
}

/** A server of the test's own. */
async function startNats (t: Test): Promise<string> {
  const binary = pathOf('nats-server')
  for (;;) {
    const port = await freePort()
    const daemon = startDaemon(t, binary, [
      '--addr', '127.0.0.1', '--port', String(port), '--jetstream', '--store_dir', ownDirectory(t, 'nats')
    ])
    if (await listens(daemon, port)) return `127.0.0.1:${port}`
  }
}
