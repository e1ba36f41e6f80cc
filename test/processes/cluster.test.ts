import { randomUUID } from 'node:crypto'
import t from 'tap'
import { clientOf, until } from '../helper.ts'
import { payAndLeave } from './leave.ts'
import { startLoad } from './load.ts'
import { startWorld } from './start.ts'

t.test('workers of node:cluster are replaced one by one under load: no payment is lost, none runs twice', async (t) => {
  const world = await startWorld(t)
  const { provider } = world
  const service = await world.start({}, {}, 'test/processes/cluster.ts')
  const load = startLoad(t, service.url)
  const key = randomUUID()
  await payAndLeave(world, service, key)
  provider.answerOthers(key)
  await load.more(50)

  service.kill('SIGHUP')
  await until(() => service.stdout().includes('"msg":"closing"'), 'the first worker being told to end', 60_000)
  await load.more(50)
  provider.answer(key)
  await until(() => service.stdout().includes('all workers are replaced'), 'all workers being replaced', 60_000)
  t.same(service.stdout().match(/a worker has ended with code .*/g), Array(2).fill('a worker has ended with code 0'))
  await load.more(50)

  const statuses = await load.end()
  t.same(new Set(statuses.values()), new Set([200]), `${statuses.size} payments`)
  t.same([...statuses.keys()].filter(key => provider.charges(key) !== 1), [], 'each of them is one charge')
  const retry = await clientOf(service.url).post('/pay', key, {})
  t.same({ status: retry.status, replayed: retry.replayed }, { status: 200, replayed: true })
  t.equal(provider.charges(key), 1, 'also the one whose client had left')
  service.kill('SIGTERM')
  t.equal(await service.ended, 0)
})
