import { Type } from '@fastify/type-provider-typebox'

export const Uuid = Type.String({ pattern: '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' })

/** Text from a client, which the database stores unchanged. */
export const Text = Type.String({ minLength: 1, maxLength: 140, 'x-storable': true })

export const OrderParams = Type.Object({ id: Uuid })

/** Minor units (cents), as an integer that every JSON parser reads exactly. */
export const Amount = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })

export const Currency = Type.String({ pattern: '^[A-Z]{3}$' })

/** Fastify sends only these members to the client. Others that a handler returns stay in the app. */
export const OrderAnswer = Type.Object({
  id: Uuid,
  amount: Amount,
  currency: Currency,
  reference: Type.Union([Type.String(), Type.Null()]),
  status: Type.String(),
  createdAt: Type.String()
})

/** A refusal, which the journal keeps like any other answer. */
export const ProblemAnswer = Type.Object({
  type: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.String(),
  code: Type.String(),
  retryable: Type.Boolean()
})
