import { startRedis } from '../test/servers/redis.ts'
import { MAX_LANES, Lane } from './lane.ts'
import { modeOf } from './modes.ts'
import { startLoad } from './processes.ts'
const redis = await startRedis({ args: ['--databases', String(MAX_LANES)] })
const load = startLoad()
const names = process.argv.slice(4)
const connections = Number(process.argv[2]); const rounds = Number(process.argv[3])
const conditions: any = { load, servers: { redisUrl: redis.url, databaseUrl: '' }, repeats: { left: 0 }, requests: connections === 1 ? 1500 : 6000, connections }
const lanes = []
for (const name of names) lanes.push(await Lane.open({ ...modeOf(name), share: 1 } as any, conditions))
const got: any = {}
for (let r = 0; r < rounds; r++) for (const lane of lanes) (got[lane.mode.name] ??= []).push(await lane.window())
for (const name of Object.keys(got)) {
  const f = (k: string) => { const v = got[name].map((s: any) => s[k]).sort((a: number, b: number) => a - b); return `${k} min ${(v[0]).toFixed(3)} q1 ${v[v.length >> 2].toFixed(3)} med ${v[v.length >> 1].toFixed(3)}` }
  console.log(name.padEnd(24), f('cpu'), '|', f('p50'), '|', f('redisCpu'), '|', f('throughput'))
}
for (const lane of lanes) await lane.close()
await load.stop(); await redis.stop(); process.exit()
