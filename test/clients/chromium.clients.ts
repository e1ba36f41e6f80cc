import { randomUUID } from 'node:crypto'
import t from 'tap'
import { payInChromium } from './chromium.ts'
import { startDropper } from './dropper.ts'
import { payThroughDrops, startWays, testDrops } from './one-run.ts'

const { world, ways } = await startWays(t)
testDrops(t, 'Chromium', { world, ways }, t => (url, key) => payInChromium(t, url, key))

for (const way of ways) {
  t.test(`Chromium, ${way.name}: a fetch that loses six connections is seven POSTs, one run, one 200`, async (t) => {
    const pay = (url: string, key: string): ReturnType<typeof payInChromium> => payInChromium(t, url, key, { idle: 6 })
    const { got, charges, posts } = await payThroughDrops(t, world, way, pay, { drops: 6 })
    t.same({ status: got.status, charges, posts }, { status: 200, charges: 1, posts: 7 }, got.body)
  })
}

for (const way of ways) {
  // Chromium treats a 408 as the sign of a stale connection, and sends the POST again over each idle one.
  t.test(`Chromium, ${way.name}: a handler that answers 408 is one run of one fetch`, async (t) => {
    const { url, posts } = await startDropper(t, way.addresses)
    const key = randomUUID()
    world.provider.answer(key, 408)
    const { status, body } = await payInChromium(t, url, key, { idle: 6 })
    t.equal(world.provider.charges(key), 1)
    t.equal(status, 409, body)
    t.equal(posts.length, 2)
  })
}
