#!/usr/bin/env bash
# Expected: a route's `headers` schema with `additionalProperties: false` (removed, not refused: Fastify's default)
#   narrows `request.headers` as its body schema narrows `request.body`. What Node.js received stays as it was, and a
#   route that forwards the request forwards its credentials.
# Seen: `request.headers` is Node's own object, and validation deletes and converts in place. `request.raw.headers` has
#   lost authorization and content-type, "0012" has become the number 12; @fastify/reply-from forwards a GET without its
#   credentials, and answers 500 for a JSON body, as it no longer knows the type. Only `rawHeaders` is untouched.
# Versions: fastify 5.12.8, @fastify/reply-from 12.6.5.
# Output seen:
#   request.raw.headers: { 'x-shop': 12 }
#   GET 200, upstream got { 'x-shop': '12' }
#   POST 500 ERR_INVALID_ARG_TYPE
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund fastify@5.12.8 @fastify/reply-from@12.6.5

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import replyFrom from '@fastify/reply-from'
import Fastify from 'fastify'

const upstream = Fastify()
upstream.get('/', async ({ headers }) => ({ authorization: headers.authorization, 'x-shop': headers['x-shop'] }))
const base = await upstream.listen({ port: 0, host: '127.0.0.1' })

const app = Fastify()
console.log('fastify', app.version)
await app.register(replyFrom, { base })
const properties = { 'x-shop': { type: 'integer' } }
const schema = { headers: { type: 'object', additionalProperties: false, properties } }
let raw
function handler (request, reply) {
  raw = request.raw
  return reply.from('/')
}
app.route({ method: ['GET', 'POST'], url: '/', schema, handler })
const url = await app.listen({ port: 0, host: '127.0.0.1' })
const sent = { authorization: 'Bearer token', 'x-shop': '0012' }

const got = await (await fetch(url, { headers: sent })).json()
console.log('request.raw.headers:', raw.headers)
console.log('GET 200, upstream got', got)
assert.deepEqual({ ...raw.headers }, { 'x-shop': 12 })
assert.ok(raw.rawHeaders.includes('Bearer token') && raw.rawHeaders.includes('0012'))
assert.deepEqual(got, { 'x-shop': '12' })

const headers = { ...sent, 'content-type': 'application/json' }
const posted = await fetch(url, { method: 'POST', body: '{"amount":1}', headers })
const { code } = await posted.json()
console.log('POST', posted.status, code)
assert.deepEqual([posted.status, code], [500, 'ERR_INVALID_ARG_TYPE'])
await app.close()
await upstream.close()
JS
node main.js
