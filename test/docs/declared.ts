import type { JsMsg } from '@nats-io/jetstream'
import type { Job, Worker } from 'bullmq'
import type { FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'
import type PgBoss from 'pg-boss'
import type { Registry } from 'prom-client'
import type { IdempotentResponse } from '../../plugin/client/index.ts'

/** What the code of the pages declares. If several blocks declare a name, it means the same in all of them. */
export interface Declared {
  app: FastifyInstance
  redis: Redis
  response: IdempotentResponse
  onMessage: (message: { id: string, orderId: string }) => Promise<unknown>
  shipOnce: (shipment: { id: string, orderId: string }) => Promise<unknown>
  pay: (order: string) => Promise<object>
  refund: (order: string) => Promise<object>
  leaving: AbortController
  replays: Map<string, number>
  register: Registry
  /** An OpenAPI document. */
  document: string
  stop: () => void | Promise<void>
  /** What a block printed that was run in a process of its own. */
  output: string
  consume: (job: Job<{ id: string, orderId: string }>, token?: string) => Promise<unknown>
  worker: Worker
  boss: PgBoss
  onDelivery: (message: JsMsg) => Promise<void>
  closeDay: (day: string) => Promise<unknown>
}
