#!/usr/bin/env bash
# Expected: `request.raw.headersDistinct` (Node.js 18.3), which tells two fields of one name from one field with a
#   comma, works in each Fastify app: HTTP/2's compatibility API is made like HTTP/1's, and inject() makes a request.
# Seen: it is there over an HTTP/1 socket only, undefined over HTTP/2 and under inject(), so a check for a doubled field
#   throws for the one and cannot be tested with the other. All three join the fields in `headers` and keep them apart
#   in `rawHeaders`, but with names as sent over the socket and in lower case elsewhere.
# Versions: fastify 5.12.8 (light-my-request 6), Node.js 20.20.2.
# Output seen:
#   HTTP/1  { joined: 'a, b', distinct: [ 'a', 'b' ], names: [ 'Order-Key', 'Order-Key' ] }
#   HTTP/2  { joined: 'a, b', names: [ 'order-key', 'order-key' ] }
#   inject  { joined: 'a, b', names: [ 'order-key', 'order-key' ] }
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund fastify@5.12.8

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import http from 'node:http'
import http2 from 'node:http2'
import { json } from 'node:stream/consumers'
import Fastify from 'fastify'

async function app (options) {
  const app = Fastify(options)
  app.get('/', async ({ raw }) => ({
    joined: raw.headers['order-key'],
    distinct: raw.headersDistinct?.['order-key'],
    names: raw.rawHeaders.filter(text => text.toLowerCase() === 'order-key')
  }))
  return { app, url: await app.listen({ port: 0, host: '127.0.0.1' }) }
}
const headers = { 'Order-Key': ['a', 'b'] }
const one = await app()
const two = await app({ http2: true })
console.log('fastify', one.app.version, 'Node.js', process.version)

const response = await new Promise(resolve => http.get(one.url, { headers, agent: false }, resolve))
const overHttp1 = await json(response)
console.log('HTTP/1 ', overHttp1)
const session = http2.connect(two.url)
const overHttp2 = await json(session.request({ ':path': '/', ...headers }))
session.close()
console.log('HTTP/2 ', overHttp2)
const injected = (await one.app.inject({ url: '/', headers })).json()
console.log('inject ', injected)
await one.app.close()
await two.app.close()

assert.deepEqual(overHttp1, { joined: 'a, b', distinct: ['a', 'b'], names: ['Order-Key', 'Order-Key'] })
assert.deepEqual(overHttp2, { joined: 'a, b', names: ['order-key', 'order-key'] })
assert.deepEqual(injected, overHttp2)
JS
node main.js
