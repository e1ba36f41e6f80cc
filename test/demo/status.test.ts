import fc from 'fast-check'
import t from 'tap'
import { IllegalMoveError, move, MOVES, STATUSES } from '../../demo-app/orders/status.ts'
import type { OrderStatus } from '../../demo-app/orders/status.ts'

const status = fc.constantFrom(...STATUSES)

t.test('no sequence of moves ever leaves the table of legal moves', async (t) => {
  fc.assert(fc.property(fc.array(status, { maxLength: 20 }), wishes => {
    let now: OrderStatus = 'pending'
    for (const wish of wishes) {
      const legal: boolean = MOVES[now].includes(wish)
      try {
        const next: OrderStatus = move(now, wish)
        if (!legal || next !== wish) return false
        now = next
      } catch (error) {
        if (legal || !(error instanceof IllegalMoveError) || error.from !== now || error.to !== wish) return false
      }
    }
    return true
  }), { numRuns: 1_000 })
  t.pass('a thousand sequences')
})

t.test('whatever is tried in whatever order, an order is paid at most once and refunded at most once', async (t) => {
  fc.assert(fc.property(fc.array(status, { maxLength: 40 }), wishes => {
    const history: OrderStatus[] = ['pending']
    for (const wish of wishes) {
      try {
        history.push(move(history.at(-1) ?? 'pending', wish))
      } catch (error) {
        if (!(error instanceof IllegalMoveError)) throw error
      }
    }
    const paid = history.filter((status, i) => status === 'paid' && history[i - 1] === 'paying').length
    const refunded = history.filter(status => status === 'refunded').length
    return paid <= 1 && refunded <= 1
  }), { numRuns: 1_000 })
  t.pass('a thousand sequences')
})

t.test('an illegal move is refused with an error that names both statuses', async (t) => {
  t.throws(() => move('refunded', 'paid'), {
    name: 'IllegalMoveError', from: 'refunded', to: 'paid', message: 'an order that is refunded cannot become paid'
  })
})
