#!/usr/bin/env bash
# Expected: ioredis' Cluster follows a MOVED answer by itself, also with `enableAutoPipelining`, which only says that
#   commands of one tick are written together: a caller of set() never sees a MOVED.
# Seen: after a slot has moved, set() of its keys rejects with "MOVED 640 host:port" whenever commands of other slots
#   share the tick, and goes on doing so, while the same calls without the option all succeed.
# Versions: ioredis 6.0.0, Redis 7.0.15 (Debian 12's redis-server package has to be installed).
# Output seen:
#   enableAutoPipelining false: refused [] again: []
#   enableAutoPipelining true: refused [ 'MOVED 4769', 'MOVED 640' ] again: [ 'MOVED 4769', 'MOVED 640' ]
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; wait; rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund ioredis@6.0.0
redis-server --version
four="[1, 2, 3, 4].map(() => net.createServer().listen(0).address().port).join(' ')"
read -r one bus1 two bus2 < <(node -e "console.log($four); process.exit()")
for ports in "$one $bus1" "$two $bus2"; do
  mkdir "node-${ports% *}"
  redis-server --port "${ports% *}" --cluster-port "${ports#* }" --bind 127.0.0.1 --cluster-enabled yes --save '' \
    --dir "node-${ports% *}" > /dev/null &
done

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster, Redis } from 'ioredis'

const [one, two, bus2] = process.argv.slice(2)
const nodes = [one, two].map(port => new Redis(port, '127.0.0.1', { maxRetriesPerRequest: null }))
const ids = await Promise.all(nodes.map(node => node.call('CLUSTER', 'MYID')))
async function give (to) {
  for (const node of nodes) await node.flushall()
  for (const slot of [4769, 640]) for (const node of nodes) await node.cluster('SETSLOT', slot, 'NODE', ids[to])
}
await nodes[1].call('CLUSTER', 'SET-CONFIG-EPOCH', 2)
for (const i of [0, 1]) await nodes[i].call('CLUSTER', 'ADDSLOTSRANGE', i * 8192, i * 8192 + 8191)
await nodes[0].call('CLUSTER', 'MEET', '127.0.0.1', two, bus2)
const up = async node => /state:ok[^]*known_nodes:2/.test(await node.cluster('INFO'))
while (!await up(nodes[0]) || !await up(nodes[1])) await sleep(100)

async function store (cluster) {
  const results = await Promise.allSettled(Array.from({ length: 10 }, (_, i) => cluster.set(`order-${i}`, 1)))
  return results.filter(({ status }) => status === 'rejected').map(({ reason }) => /^MOVED \d+/.exec(reason.message)[0])
}
for (const enableAutoPipelining of [false, true]) {
  const cluster = new Cluster([{ host: '127.0.0.1', port: one }], { enableAutoPipelining })
  assert.deepEqual(await store(cluster), [])
  await give(1)
  const moved = [await store(cluster), await store(cluster)]
  console.log(`enableAutoPipelining ${enableAutoPipelining}: refused`, moved[0], 'again:', moved[1])
  assert.deepEqual(moved, Array(2).fill(enableAutoPipelining ? ['MOVED 4769', 'MOVED 640'] : []))
  await give(0)
  cluster.disconnect()
}
for (const node of nodes) node.disconnect()
JS
node main.js "$one" "$two" "$bus2"
