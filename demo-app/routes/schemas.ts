import { Type } from '@fastify/type-provider-typebox'

export const Uuid = Type.String({ pattern: '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' })

/** Text of a client's that the database keeps as it is. */
export const Text = Type.String({ minLength: 1, maxLength: 140, 'x-storable': true })

export const OrderParams = Type.Object({ id: Uuid })

/** Minor units (cents), as an integer that every JSON reader reads exactly. */
export const Amount = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })

export const Currency = Type.String({ pattern: '^[A-Z]{3}$' })

/** Also what reaches the client: what a handler returns beyond it (whose the order is, its version) stays here. */
export const OrderAnswer = Type.Object({
  id: Uuid,
  amount: Amount,
  currency: Currency,
  reference: Type.Union([Type.String(), Type.Null()]),
  status: Type.String(),
  createdAt: Type.String()
})

/** A refusal that is journalled like any other answer. */
export const ProblemAnswer = Type.Object({
  type: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.String(),
  code: Type.String(),
  retryable: Type.Boolean()
})
