import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { until } from '../helper.ts'
import { startWorld } from '../processes/start.ts'
import type { Service, World } from '../processes/start.ts'
import { curlOnce } from './command.ts'
import type { Got, Pay } from './command.ts'
import { startDropper } from './dropper.ts'
import { startHaproxy, startNginx } from './proxies.ts'

/** A way from clients to the processes of one service. */
export interface Way {
  name: string
  services: Service[]
  /** The order in which direct POSTs reach the processes, or the address of the proxy in front of them. */
  addresses: string[]
}

/**
 * With these options a duplicate that is held without reason hangs, and one that is held with reason is never given up.
 */
export const OPTIONS = { waitTimeout: 3_600_000 }

/** Two processes, reached directly and behind proxies that pass on that a client has left. */
export async function waysTo (t: Test, { start }: World): Promise<Way[]> {
  const [one, other] = await Promise.all([start(OPTIONS), start(OPTIONS)])
  const services = [one, other]
  const [haproxy, nginx] = await Promise.all([startHaproxy(t, services), startNginx(t, services)])
  return [
    { name: 'one process', services, addresses: [one.url] },
    { name: 'two processes, of which the other gets what is sent again', services, addresses: [one.url, other.url] },
    { name: 'two processes behind HAProxy', services, addresses: [haproxy.url] },
    { name: 'two processes behind nginx', services, addresses: [nginx.url] }
  ]
}

/** The number of duplicates that are, or were, held for the answer of their owner. */
export async function waited (services: Service[]): Promise<number> {
  const stats = await Promise.all(services.map(service => service.stats()))
  return stats.reduce((sum, { waited }) => sum + waited, 0)
}

/**
 * A client sends again at once. What its end takes to reach the service, and what the owner's process says of it to
 * the others, on another way than what is sent again, is a matter of milliseconds, and of how busy the machine is: a
 * quarter of a second is allowed for, and is not the subject of the tests. So what is sent again is held back until
 * then.
 * @param running what Redis had for the key when the handler ran, and nobody had left
 */
export async function seenToLeave (
  { record }: World, services: Service[], key: string, times: number, running: Buffer | null
): Promise<void> {
  const seen = (): number => services.reduce((sum, { stdout }) => sum + stdout().split(`"left":"${key}"`).length - 1, 0)
  await until(() => seen() >= times, 'the service seeing its client leave', 60_000)
  await until(async () => running?.equals(await record(key) ?? running) === false, 'the mark that says so', 60_000)
}

interface Drops {
  drops?: number
  how?: 'closed' | 'reset'
}

interface Paid {
  got: Got
  charges: number
  posts: number
}

/**
 * A client pays once, and the network cuts its connection while the handler runs, this many times: each time the client
 * sends its POST again by itself. Returns what the client gets in the end, and how often the handler ran.
 */
export async function payThroughDrops (t: Test, world: World, way: Way, pay: Pay, options: Drops = {}): Promise<Paid> {
  const { drops = 1, how = 'closed' } = options
  const { services, addresses } = way
  const { provider } = world
  const key = randomUUID()
  let running: Buffer | null = null
  const { url, posts, passed } = await startDropper(t, addresses, async (before) => {
    if (before > 0) await seenToLeave(world, services, key, before, running)
  })
  const heldBefore = await waited(services)
  const answer = pay(url, key)
  await Promise.race([provider.asked(key), answer])
  running = await world.record(key)
  for (let drop = 1; drop <= drops; drop++) {
    posts[drop - 1]?.cut(how)
    // The client fails, or gets an error, instead of sending again.
    await Promise.race([passed(drop + 1), answer])
    // The next connection is cut only after that, so that it is one that waits.
    const isHeld = async (): Promise<boolean> => await waited(services) >= heldBefore + drop
    await Promise.race([until(isHeld, 'the duplicate waiting', 60_000), answer])
  }
  provider.answer(key)
  const got = await answer
  return { got, charges: provider.charges(key), posts: posts.length }
}

interface Ways {
  world: World
  ways: Way[]
}

export async function startWays (t: Test): Promise<Ways> {
  const world = await startWorld(t)
  return { world, ways: await waysTo(t, world) }
}

/** One call, one run, one 200. */
export function testDrops (t: Test, client: string, { world, ways }: Ways, pay: (t: Test) => Pay): void {
  for (const way of ways) {
    for (const how of ['closed', 'reset'] as const) {
      t.test(`${client}, ${way.name}: a connection is ${how} while the handler runs: one run, one 200`, async (t) => {
        const { got, charges, posts } = await payThroughDrops(t, world, way, pay(t), { how })
        t.same({ status: got.status, charges, posts }, { status: 200, charges: 1, posts: 2 }, got.body)
        t.match(JSON.parse(got.body), { charge: 1 })
      })
    }

    t.test(`${client}, ${way.name}: while it is connected, somebody else's duplicate is a 409 at once`, async (t) => {
      const { provider } = world
      const { url } = await startDropper(t, way.addresses)
      const key = randomUUID()
      const answer = pay(t)(url, key)
      await Promise.race([provider.asked(key), answer])
      const other = await curlOnce(url, key)
      t.equal(other.status, 409)
      t.match(JSON.parse(other.body), { code: 'FST_IDEMPOTENCY_IN_PROGRESS' })
      provider.answer(key)
      t.equal((await answer).status, 200)
      t.equal(provider.charges(key), 1)
    })
  }
}
