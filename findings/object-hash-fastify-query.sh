#!/usr/bin/env bash
# Expected: object-hash gives equal hashes for objects with equal members, so a hash of request.query, as a cache key or
#   fingerprint, can be compared with one made from the stored or parsed query elsewhere.
# Seen: Fastify's request.query (and what Node's querystring makes) has no Object.prototype, and object-hash hashes the
#   prototype too: {"item":"1"} has another hash than itself after JSON, and than what URLSearchParams makes of the same
#   text. A body parsed from JSON has the plain prototype, so tests with bodies do not show it. `respectType: false`
#   ends it.
# Versions: object-hash 3.0.0, fastify 5.12.8.
# Output seen:
#   query: members equal, hashes equal: false, with respectType false: true
#   body: members equal, hashes equal: true, with respectType false: true
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund fastify@5.12.8 object-hash@3.0.0

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import { parse } from 'node:querystring'
import Fastify from 'fastify'
import hash from 'object-hash'

const app = Fastify()
console.log('fastify', app.version)
const seen = {}
app.post('/', async ({ query, body }) => Object.assign(seen, { query, body }))
await app.inject({ method: 'POST', url: '/?item=1', payload: { item: '1' } })

function compare (name) {
  const stored = JSON.parse(JSON.stringify(seen[name]))
  assert.equal(JSON.stringify(stored), '{"item":"1"}')
  const equal = hash(seen[name]) === hash(stored)
  const loose = hash(seen[name], { respectType: false }) === hash(stored, { respectType: false })
  console.log(`${name}: members equal, hashes equal: ${equal}, with respectType false: ${loose}`)
  return [equal, loose]
}
assert.deepEqual(compare('query'), [false, true])
assert.deepEqual(compare('body'), [true, true])
assert.notEqual(hash(parse('item=1')), hash({ item: '1' }))
assert.equal(hash(Object.fromEntries(new URLSearchParams('item=1'))), hash({ item: '1' }))
JS
node main.js
