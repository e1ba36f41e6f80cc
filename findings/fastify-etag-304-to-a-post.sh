#!/usr/bin/env bash
# Expected: an ETag plugin answers 304 to GET and HEAD only, and only in place of a 200 (RFC 9110, 13.1.2 and 15.4.5:
#   for another method a matching If-None-Match is a 412, and nothing is done).
# Seen: with the plugin's defaults a POST with If-None-Match is carried out, and then its 201 is replaced by an empty
#   304; so is a 404. Neither the method nor the status is looked at.
# Versions: @fastify/etag 6.2.0, fastify 5.12.8.
# Output seen:
#   POST: 201, repeated with If-None-Match: 304 "" (handler ran 2 times)
#   GET of something missing: 404, repeated with If-None-Match: 304 ""
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund fastify@5.12.8 @fastify/etag@6.2.0

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import etag from '@fastify/etag'
import Fastify from 'fastify'

const app = Fastify()
console.log('fastify', app.version)
await app.register(etag)
let ran = 0
app.post('/orders', async (request, reply) => {
  ran++
  reply.code(201)
  return { placed: true }
})
app.get('/missing', async (request, reply) => {
  reply.code(404)
  return { title: 'No such order' }
})

async function twice (method, url) {
  const first = await app.inject({ method, url })
  const second = await app.inject({ method, url, headers: { 'if-none-match': first.headers.etag } })
  console.log(method, url, first.statusCode, 'then', second.statusCode, JSON.stringify(second.body))
  return [first.statusCode, second.statusCode, second.body]
}

assert.deepEqual(await twice('POST', '/orders'), [201, 304, ''])
assert.equal(ran, 2)
assert.deepEqual(await twice('GET', '/missing'), [404, 304, ''])
JS
node main.js
