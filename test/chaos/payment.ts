import type { Client, Request } from './client.ts'
import { orderOf } from './faults.ts'
import type { Recorder } from './recorder.ts'
import type { PlannedPayment } from './schedule.ts'

/**
 * One payment of the schedule, as its client makes it: the order is created, then paid. Returns the requests that can
 * be sent again, in this order, when everything is over, and must then get the same answers.
 */
export async function makePayment (client: Client, recorder: Recorder, planned: PlannedPayment): Promise<Request[]> {
  const { index, amount, method, app, leavesAfter, fault } = planned
  const create: Request = {
    key: `order-${index}`,
    route: 'create',
    variant: 'own',
    path: '/orders',
    body: { amount, currency: 'EUR' },
    app
  }
  const created = await client.persist(create)
  if (created.status !== 201) return []
  const { id } = JSON.parse(created.text) as { id: string }
  // Both of two requests that race each other carry the order: it is not known which of them gets that far.
  const order = fault === null ? null : orderOf(fault)
  const pay: Request = {
    key: `pay-${index}`,
    route: 'pay',
    variant: 'own',
    path: `/orders/${id}/pay`,
    body: { method },
    app,
    order
  }

  const settled = [create, { ...pay, order: null }]
  switch (planned.client) {
    case 'abandons':
      recorder.abandoned.push(pay.key)
      await client.persist(pay, { leavesAfter, untilStruck: true })
      return [create]
    case 'disconnects':
      await client.persist(pay, { leavesAfter })
      return settled
    case 'races itself':
      await Promise.all([client.persist(pay), client.persist({ ...pay, app: app + 1 })])
      return settled
    case 'races another key': {
      const rival: Request = { ...pay, key: `rival-${index}`, app: app + 1 }
      await Promise.all([client.persist(pay), client.persist(rival)])
      return [...settled, { ...rival, order: null }]
    }
    case 'sends another body': {
      const another: Request = {
        ...pay,
        order: null,
        variant: 'another',
        body: { method: method === 'card' ? 'wallet' : 'card' },
        app: app + 1
      }
      await client.persist(pay)
      await client.persist(another)
      return [another, ...settled]
    }
    default:
      await client.persist(pay)
      return settled
  }
}
