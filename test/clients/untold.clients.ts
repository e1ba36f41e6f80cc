import { randomUUID } from 'node:crypto'
import t from 'tap'
import { startWorld } from '../processes/start.ts'
import { curl } from './command.ts'
import { startDropper } from './dropper.ts'
import { startHaproxy, startNginx } from './proxies.ts'

// Not every proxy tells the service that a client has left: this tests what docs/deploying.md says about those that do
// not.

const world = await startWorld(t)
const services = await Promise.all([world.start(), world.start()])
const PROXIES = {
  'HAProxy without option abortonclose':
    await startHaproxy(t, services, config => config.replace('option abortonclose', '')),
  'nginx with proxy_ignore_client_abort on':
    await startNginx(t, services, config => config.replace('abort off', 'abort on'))
}

for (const [name, proxy] of Object.entries(PROXIES)) {
  t.test(`behind ${name} a POST that is sent again is a 409: nobody says that its client has left`, async (t) => {
    const { url, posts } = await startDropper(t, [proxy.url])
    const key = randomUUID()
    const answer = curl(url, key)
    await world.provider.asked(key)
    posts[0]?.cut()
    t.equal((await answer).status, 409)
    t.equal(posts.length, 2)
    world.provider.answer(key)
    t.equal((await curl(proxy.url, key)).status, 200)
    t.equal(world.provider.charges(key), 1)
  })
}
