#!/usr/bin/env bash
# Expected: a Map keeps the order of insertion, so the usual small cache (delete `map.keys().next().value` when it is
#   full, then set the new key) costs the same for each entry, however large the cache is.
# Seen: the cost grows with the size of the Map. Deleted entries stay in the table until the next rehash, and each new
#   iterator walks over all of them to find the first entry that is left. With 100,000 entries an eviction costs more
#   than a hundred times what it costs with 1,000. An iterator that is kept, or a linked list, has no such cost.
# Versions: Node.js 20.20.2, 22.23.3 and 24.21.0 (here: the npm package node 22.23.3).
# Output seen (nanoseconds for one eviction and one insertion, by entries of the Map):
#   new iterator:  1000: 454 ns, 100000: 47199 ns
#   one iterator:  1000: 191 ns, 100000: 265 ns
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund node@22.23.3

cat > main.js <<'JS'
import assert from 'node:assert/strict'

/** Nanoseconds of CPU time for one eviction and one insertion in a Map that has `size` entries all the time. */
function cost (size, oneIterator) {
  const map = new Map()
  let next = 0
  for (; next < size; next++) map.set(next, next)
  const kept = map.keys()
  const turn = (count) => {
    for (let i = 0; i < count; i++) {
      const { value: oldest } = oneIterator ? kept.next() : map.keys().next()
      assert.equal(oldest, next - size)
      map.delete(oldest)
      map.set(next, next++)
    }
  }
  turn(size * 2)
  const before = process.cpuUsage()
  turn(200_000)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 200_000 * 1_000
}

console.log('Node.js', process.version)
const [small, large] = [cost(1_000, false), cost(100_000, false)]
const [smallKept, largeKept] = [cost(1_000, true), cost(100_000, true)]
console.log(`new iterator:  1000: ${small.toFixed(0)} ns, 100000: ${large.toFixed(0)} ns`)
console.log(`one iterator:  1000: ${smallKept.toFixed(0)} ns, 100000: ${largeKept.toFixed(0)} ns`)
assert.ok(large > 20 * small, 'a new iterator costs more, the larger the Map is')
assert.ok(large > 20 * largeKept, 'and an iterator that is kept does not')
JS
node_modules/.bin/node main.js
