import { Type } from '@fastify/type-provider-typebox'
import { FAULT_KINDS } from './faults.ts'

const MerchantNumber = Type.String({ pattern: '^[A-Za-z0-9-]{1,64}$' })
const Amount = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })
const NotifyUrl = Type.Optional(Type.String({ pattern: '^https?://', maxLength: 2048 }))

export const ByNumber = Type.Object({ number: MerchantNumber })

export const ChargeBody = Type.Object({
  number: MerchantNumber,
  amount: Amount,
  currency: Type.String({ pattern: '^[A-Z]{3}$' }),
  method: Type.String(),
  notifyUrl: NotifyUrl
}, { additionalProperties: false })

export const RefundBody = Type.Object({
  number: MerchantNumber,
  chargeNumber: MerchantNumber,
  amount: Amount,
  notifyUrl: NotifyUrl
}, { additionalProperties: false })

export const FaultBody = Type.Object({
  kind: Type.Union(FAULT_KINDS.map(kind => Type.Literal(kind))),
  times: Type.Optional(Type.Integer({ minimum: 1 })),
  delayMs: Type.Optional(Type.Integer({ minimum: 0, maximum: 3_600_000 })),
  number: Type.Optional(MerchantNumber),
  operation: Type.Optional(Type.Union([Type.Literal('charge'), Type.Literal('refund'), Type.Literal('query')]))
}, { additionalProperties: false })
