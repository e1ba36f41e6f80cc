import fc from 'fast-check'
import type { Redis } from 'ioredis'
import t from 'tap'
import type { Test } from 'tap'
import { connectRedis, newPrefix } from '../helper.ts'
import { memoryOn, methodsOf, openStore, putClockForward, viewOf } from './harness.ts'
import type { StoreMethods, StoreUnderTest } from './harness.ts'
import { holds, isCaught } from './holds.ts'
import { actors, happenings, singleCommands, wholeOperations, World } from './interleave.ts'
import type { StartProcess } from './interleave.ts'

/*
 * Several clients, crashes, leases that run out, lost records and an operator share one key. Fast-check decides after
 * each step which one goes next, a model says what the result must be, and the record is checked after each step.
 */

type Cast = [fc.Scheduler, Parameters<World['play']>[0], Parameters<World['play']>[1]]

function play (under: () => StoreUnderTest, start: (under: StoreUnderTest) => StartProcess): fc.IRawProperty<Cast> {
  let runs = 0
  return fc.asyncProperty(fc.scheduler(), actors, happenings, async (scheduler, actors, happenings) => {
    const fresh = under()
    const world = new World(scheduler, fresh, `run-${++runs}`)
    await world.play(actors, happenings, start(fresh))
  })
}

function ofMemory (t: Test, start: (under: StoreUnderTest) => StartProcess): fc.IRawProperty<Cast> {
  const forward = putClockForward(t)
  return play(() => memoryOn(forward), start)
}

function ofRedis (t: Test, start: (redis: Redis, keyPrefix: string) => StartProcess): fc.IRawProperty<Cast> {
  const keyPrefix = newPrefix()
  const redis = connectRedis(t, { prefix: keyPrefix })
  const store = openStore(t, redis, keyPrefix)
  return play(() => ({ store, other: store, ...viewOf(redis, keyPrefix) }), () => start(redis, keyPrefix))
}

t.test('MemoryStore: in any order of events a key has one owner, growing attempts and one outcome', async (t) => {
  await holds(t, ofMemory(t, ({ store }) => wholeOperations(store)), 600)
})

t.test('RedisStore: in any order of commands a key has one owner, growing attempts and one outcome', async (t) => {
  await holds(t, ofRedis(t, (redis, keyPrefix) => singleCommands(redis, keyPrefix)), 200)
})

/** The same checks must fail if a store is wrong. Otherwise they would prove nothing. */
const BROKEN_STORES: Array<[what: string, breakIt: (under: StoreUnderTest) => Partial<StoreMethods>, why: RegExp]> = [
  ['that lets a late owner complete', ({ store }) => ({
    async complete (id, owned, outcome) {
      if (await store.complete(id, owned, outcome)) return true
      await store.forget(id)
      return store.complete(id, owned, outcome)
    }
  }), /the answer to complete/],
  ['that takes a key over while its lease lasts', ({ store, expireLease }) => ({
    async claim (id, claim) {
      const result = await store.claim(id, claim)
      if (result.state !== 'running') return result
      await expireLease(id)
      return store.claim(id, claim)
    }
  }), /the answer to claim|not what the model says/],
  ['that lets another request overwrite the record', ({ store }) => ({
    async claim (id, claim) {
      const result = await store.claim(id, claim)
      if (result.state !== 'mismatch') return result
      await store.forget(id)
      await store.claim(id, claim)
      return result
    }
  }), /no way leads from|not what the model says|the answer to/],
  ['that forgets how many attempts there were', ({ store }) => ({
    async release (id, owned) {
      const released = await store.release(id, owned)
      if (released && (await store.find(id))?.state === 'released') await store.forget(id)
      return released
    }
  }), /the record vanished|not what the model says/]
]

for (const [what, breakIt, why] of BROKEN_STORES) {
  t.test(`a store is caught ${what}`, async (t) => {
    await isCaught(t, ofMemory(t, (under) => {
      return wholeOperations({ ...methodsOf(under.store), ...breakIt(under) })
    }), 1_000, why)
  })
}

const BROKEN_SCRIPTS: Array<[what: string, lua: RegExp, broken: string]> = [
  [
    'that lets a late owner complete or release',
    /string\.sub\(record, 54, 71\) ~= string\.sub\(ARGV\[2\], 1, 18\) or|or string\.sub\(record, 54, 71\) ~= string\.sub\(ARGV\[1\], 54, 71\)/,
    ''
  ],
  ['that lets a late owner withdraw', /or string\.sub\(record, 54, 71\) ~= ARGV\[1\]/, ''],
  ['that counts a claim which was withdrawn', /attempt - 1/, 'attempt'],
  ['that takes over for who may not', /or string\.sub\(ARGV\[2\], 1, 1\) == '0'/, ''],
  ['that does not note that a client has left', /redis\.call\('SETRANGE', KEYS\[1\], 91, 'L'\)/, ''],
  ['that takes a key over while its lease lasts', /if left > 0 or/, 'if'],
  [
    'that takes over what was settled between its two commands',
    /if \(state == 's'[^)]*\) then\s+return \{2\}/,
    'if false then return {2}'
  ],
  ['that does not count attempts', /attempt = attempt \+ 1/, ''],
  ['that lets a run that was released complete', /mine = not mine and/, 'mine = mine or']
]

for (const [what, lua, broken] of BROKEN_SCRIPTS) {
  t.test(`a script is caught ${what}`, async (t) => {
    let found = 0
    await isCaught(t, ofRedis(t, (redis, keyPrefix) => singleCommands(redis, keyPrefix, (script) => {
      if (lua.test(script)) found++
      return script.replace(lua, broken)
    })), 2_000, /./)
    t.ok(found > 0, 'the script was broken')
  })
}
