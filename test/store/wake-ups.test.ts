import { EventEmitter } from 'node:events'
import t from 'tap'
import type { RedisSubscriber } from '../../plugin/store/redis-client.ts'
import { WakeUps } from '../../plugin/store/wake-ups.ts'

/** How many timers keep this process alive. */
function timers (): number {
  return process.getActiveResourcesInfo().filter(type => type === 'Timeout').length
}

t.test('nothing that outlasts a wait keeps the process alive, even if the subscription never comes', async (t) => {
  const subscriber = Object.assign(new EventEmitter(), { status: 'connecting', disconnect () {} })
  const wakeUps = new WakeUps(() => subscriber as unknown as RedisSubscriber, 'channel')
  t.teardown(() => wakeUps.close())
  const before = timers()
  await wakeUps.wait('id', 10, new AbortController().signal, async () => true)
  // Those of an earlier file in this process may end meanwhile.
  t.ok(timers() <= before, `${timers()} timers, ${before} before`)
})
