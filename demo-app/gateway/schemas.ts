import { Type } from '@fastify/type-provider-typebox'
import { FAULT_KINDS } from './faults.ts'

const Number = Type.String({ pattern: '^[A-Za-z0-9-]{1,64}$' })
const Amount = Type.Integer({ minimum: 1, maximum: globalThis.Number.MAX_SAFE_INTEGER })
const NotifyUrl = Type.Optional(Type.String({ pattern: '^https?://', maxLength: 2048 }))

export const ByNumber = Type.Object({ number: Number })

export const ChargeBody = Type.Object({
  number: Number,
  amount: Amount,
  currency: Type.String({ pattern: '^[A-Z]{3}$' }),
  method: Type.String(),
  notifyUrl: NotifyUrl
}, { additionalProperties: false })

export const RefundBody = Type.Object({
  number: Number,
  chargeNumber: Number,
  amount: Amount,
  notifyUrl: NotifyUrl
}, { additionalProperties: false })

export const FaultBody = Type.Object({
  kind: Type.Union(FAULT_KINDS.map(kind => Type.Literal(kind))),
  times: Type.Optional(Type.Integer({ minimum: 1 })),
  delayMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 3_600_000 })),
  number: Type.Optional(Number),
  operation: Type.Optional(Type.Union([Type.Literal('charge'), Type.Literal('refund'), Type.Literal('query')]))
}, { additionalProperties: false })
