#!/usr/bin/env bash
# Expected: `handlerTimeout` answers 503 for every request whose handler takes too long, and `request.signal` is aborted
#   then or when the client leaves.
# Seen: over a real socket a POST with a body is not timed out: its late 200 is sent, and request.signal is aborted at
#   once although the client waits (the body has been read, and that ends the watch). The same request through inject(),
#   and a POST without a body, get the 503, so tests with inject() do not show it.
# Version: fastify 5.12.8 on Node.js 20.20.2.
# Output seen:
#   socket, no body  { status: 503, abortedEarly: false }
#   socket, body     { status: 200, abortedEarly: true }
#   inject, body     { status: 503, abortedEarly: false }
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund fastify@5.12.8

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

const app = Fastify({ handlerTimeout: 1500 })
console.log('fastify', app.version, 'Node.js', process.version)
let abortedEarly
app.post('/', async request => {
  await sleep(100)
  abortedEarly = request.signal.aborted
  await sleep(3000)
  return { ok: true }
})
const url = await app.listen({ port: 0, host: '127.0.0.1' })
const json = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"amount":1}' }

const bare = { status: (await fetch(url, { method: 'POST' })).status, abortedEarly }
console.log('socket, no body ', bare)
const body = { status: (await fetch(url, json)).status, abortedEarly }
console.log('socket, body    ', body)
const injected = { status: (await app.inject({ url: '/', ...json })).statusCode, abortedEarly }
console.log('inject, body    ', injected)
await app.close()

assert.deepEqual(bare, { status: 503, abortedEarly: false })
assert.deepEqual(body, { status: 200, abortedEarly: true })
assert.deepEqual(injected, { status: 503, abortedEarly: false })
JS
node main.js
