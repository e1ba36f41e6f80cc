import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { Test } from 'tap'
import { clientOf, until } from '../helper.ts'
import { payAndLeave } from '../processes/leave.ts'
import { startLoad } from '../processes/load.ts'
import { startWorld } from '../processes/start.ts'
import type { Service, World } from '../processes/start.ts'
import { startHaproxy, startNginx } from './proxies.ts'

interface Balancer {
  url: string
  /** Asks the first process to end. Resolves when no more requests are sent to it. */
  end (): Promise<void>
}

/**
 * HAProxy checks whether a process is ready. A process that gets a signal says that it is not, and waits before it
 * closes.
 */
async function haproxy (t: Test, services: [Service, Service]): Promise<Balancer> {
  const { url } = await startHaproxy(t, services)
  return {
    url,
    async end () {
      services[0].kill('SIGTERM')
      await sentToOthers(url, services)
    }
  }
}

/** Whoever deploys tells nginx, as is done with the proxies of Kubernetes, before the process gets its signal. */
async function nginx (t: Test, services: [Service, Service]): Promise<Balancer> {
  const { url, reload } = await startNginx(t, services)
  return {
    url,
    async end () {
      const { host } = new URL(services[0].url)
      reload(config => config.replace(`server ${host};`, `server ${host} down;`))
      await sentToOthers(url, services)
      services[0].kill('SIGTERM')
    }
  }
}

/** Waits until the first process answers none of ten requests in a row. */
async function sentToOthers (url: string, [first]: Service[]): Promise<void> {
  let inARow = 0
  await until(async () => {
    // nginx closes idle connections when it reloads its configuration, maybe this one.
    const pid = await pidAt(url).catch(() => first?.pid)
    inARow = pid === first?.pid ? 0 : inARow + 1
    return inARow >= 10
  }, 'nothing more being sent to the process that is to end', 60_000)
}

async function pidAt (url: string): Promise<number> {
  const { pid } = await (await fetch(`${url}/ready`)).json() as { pid: number }
  return pid
}

type Start = (t: Test, services: [Service, Service]) => Promise<Balancer>

async function deploy (t: Test, world: World, start: Start): Promise<void> {
  const { provider } = world
  const [old, next] = await Promise.all([world.start({}, { PAUSE: '3000' }), world.start()])
  const balancer = await start(t, [old, next])
  const key = randomUUID()
  // Through the balancer one could also see a client leave, but not which process had its request.
  await payAndLeave(world, old, key)
  provider.answerOthers(key)
  const load = startLoad(t, balancer.url)
  await load.more(50)

  await balancer.end()
  await load.more(50)
  provider.answer(key)
  t.equal(await old.ended, 0)
  const statuses = await load.end()

  t.same(new Set(statuses.values()), new Set([200]), `${statuses.size} payments`)
  t.same([...statuses.keys()].filter(key => provider.charges(key) !== 1), [], 'each of them is one charge')
  const retry = await clientOf(balancer.url).post('/pay', key, {})
  t.same({ status: retry.status, replayed: retry.replayed }, { status: 200, replayed: true })
  t.equal(provider.charges(key), 1, 'also the one whose client had left')
}

for (const [name, start] of [['HAProxy', haproxy], ['nginx', nginx]] as const) {
  t.test(`behind ${name}: not ready, no more requests, closed: no payment is lost, none runs twice`, async (t) => {
    await deploy(t, await startWorld(t), start)
  })
}
