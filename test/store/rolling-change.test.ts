import t from 'tap'
import { build, clientOf, connectRedis, newPrefix } from '../helper.ts'
import type { Test } from 'tap'
import type { Client } from '../helper.ts'
import type { RecordVersion } from '../../plugin/store/record.ts'
import { layOut, missing, startEarlierApp } from './earlier.ts'
import { payRoute } from './pay-route.ts'

async function appThatWrites (t: Test, recordVersion: RecordVersion, keyPrefix: string): Promise<Client> {
  const redis = connectRedis(t)
  const { app, listen } = await build(t, { redis, keyPrefix, recordVersion, onConflict: 'wait' })
  payRoute(app, redis, keyPrefix)
  return listen()
}

t.test('a release with records of version 1 only is replaced in two rolling deployments: ' +
  'each retry gets the first answer, and nothing runs twice', { skip: missing() }, async (t) => {
  const keyPrefix = newPrefix()
  const redis = connectRedis(t, { prefix: keyPrefix })
  const release = layOut(t)
  const earlier = async (): Promise<Client> => clientOf(await startEarlierApp(t, release, keyPrefix))
  const [old, older] = await Promise.all([earlier(), earlier()])
  const now = (recordVersion: RecordVersion): Promise<Client> => appThatWrites(t, recordVersion, keyPrefix)
  const one = await now(1)
  const two = await now(2)
  const steps: Array<[what: string, processes: Client[]]> = [
    ['the earlier release', [old, older]],
    ['the first deployment begins', [old, one]],
    ['the first deployment is done', [one, await now(1)]],
    ['the second deployment begins', [one, two]],
    ['the second deployment is done', [two, await now(2)]]
  ]
  const answers = new Map<string, string>()
  for (const [step, [what, processes]] of steps.entries()) {
    for (let i = 0; i < 10; i++) answers.set(`key-${step}-${i}`, '')
    // This includes keys of earlier steps: their retries reach the processes that are there now.
    await Promise.all([...answers.keys()].flatMap(key => [...processes, ...processes].map(async (process) => {
      const answer = await process.post('/pay', key, { amount: '1999', note: key })
      const first = answers.get(key)
      if (answer.status !== 200) t.fail(`${what}: ${answer.status} ${answer.text}`)
      if (first === '' || first === undefined) answers.set(key, answer.text)
      else if (first !== answer.text) t.fail(`${what}: ${key} is answered ${answer.text} after ${first}`)
    })))
    t.pass(what)
  }
  for (const process of [one, two]) {
    t.equal((await process.post('/pay', 'key-0-0', { amount: 5 })).status, 422, 'another request')
  }
  const runs = await redis.hgetall(`${keyPrefix}runs`)
  t.same(Object.keys(runs).sort(), [...answers.keys()].sort())
  t.ok(Object.values(runs).every(times => times === '1'), 'each of them ran once')
})
