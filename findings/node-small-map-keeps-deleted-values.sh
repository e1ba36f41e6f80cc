#!/usr/bin/env bash
# Expected: a value that was deleted from a Map, and that nothing else refers to, is garbage: the next minor collection
#   frees it, as it does with a value that was overwritten in an array.
# Seen: in a Map that never has more than eight entries, and whose entries come and go (requests that are under way, for
#   example), deleted values survive all minor collections once the Map itself is old. Every few deletions the Map moves
#   to a new table, and the old table refers to the new one. The first old table is in the old generation, so the
#   collector keeps the whole chain of tables, and the values that they had, until a full collection. So memory grows,
#   and minor collections copy what nobody uses. Values in an array (a ring) are freed.
# Versions: Node.js 20.20.2, 22.23.3 and 24.21.0 (here: the npm package node 22.23.3).
# Output seen (bytes of the heap for each of 20,000 values of some 850 bytes, of which eight are in use):
#   ring: 1 after minor collections, 0 after a full one
#   Map: 277 after minor collections, -1 after a full one
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund node@22.23.3

cat > main.js <<'JS'
import assert from 'node:assert/strict'

const LIVE = 8
const VALUES = 20_000
const valueOf = (i) => ({ payload: new Array(100).fill(i) })

function measure ({ add, remove }) {
  for (let i = 0; i < LIVE; i++) add(i, valueOf(i))
  // From here on the collection itself is old, as in a server that has run for a while.
  gc()
  gc()
  const before = process.memoryUsage().heapUsed
  for (let i = LIVE; i < VALUES; i++) {
    add(i, valueOf(i))
    remove(i - LIVE)
    if (i % 100 === 0) gc({ type: 'minor' })
  }
  gc({ type: 'minor' })
  gc({ type: 'minor' })
  const minor = (process.memoryUsage().heapUsed - before) / VALUES
  gc()
  const full = (process.memoryUsage().heapUsed - before) / VALUES
  return { minor, full }
}

function ring () {
  const slots = new Array(64).fill(null)
  return { add: (i, value) => { slots[i % 64] = value }, remove: (i) => { slots[i % 64] = null } }
}

function map () {
  const entries = new Map()
  return { add: (i, value) => { entries.set(i, value) }, remove: (i) => { entries.delete(i) } }
}

console.log('Node.js', process.version)
measure(ring())
const [inRing, inMap] = [measure(ring()), measure(map())]
for (const [name, { minor, full }] of [['ring', inRing], ['Map', inMap]]) {
  console.log(`${name}: ${minor.toFixed(0)} after minor collections, ${full.toFixed(0)} after a full one`)
}
assert.ok(inRing.minor < 40 && inRing.full < 40, 'what an array does not have any more is freed')
assert.ok(inMap.minor > 120, 'what a Map does not have any more is kept')
assert.ok(inMap.full < 40, 'until a full collection')
JS
node_modules/.bin/node --expose-gc main.js
