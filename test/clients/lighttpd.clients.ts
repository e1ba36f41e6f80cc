import t from 'tap'
import { idempotentFetch } from '../../plugin/client/index.ts'
import { startWorld } from '../processes/start.ts'
import { startDropper } from './dropper.ts'
import { startLighttpd } from './proxies.ts'

// A proxy that answers 500 in its own name, and how the client of this package handles that.

const world = await startWorld(t)
const service = await world.start({ onConflict: 'wait', waitTimeout: 3_600_000 })

t.test('lighttpd loses the service while it charges and says 500: the client gets its receipt later', async (t) => {
  const dropper = await startDropper(t, [service.url])
  const lighttpd = await startLighttpd(t, dropper)
  const statuses: number[] = []
  const send = idempotentFetch({
    tryTimeout: 3_600_000,
    totalTimeout: 3_600_000,
    fetch: async (target, init) => {
      const response = await fetch(target, init)
      statuses.push(response.status)
      return response
    }
  })
  const key = 'pay-behind-lighttpd'
  const sent = send(`${lighttpd.url}/pay`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"amount":1999}', idempotencyKey: key
  })
  await world.provider.asked(key)
  dropper.posts[0]?.cut()
  await dropper.passed(2)
  world.provider.answer(key)
  const { status, idempotency } = await sent
  t.same({ status, ...idempotency }, { status: 200, key, tries: 2, replayed: true })
  t.same(statuses, [500, 200])
  t.equal(world.provider.charges(key), 1)
})
