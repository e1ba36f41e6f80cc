#!/usr/bin/env bash
# Expected: an idempotency middleware with its Redis adapter is for several processes, so it claims a key in one step
#   (SET NX): of requests that arrive together one is carried out, the others are told that it is in progress.
# Seen: it asks with GET whether the key exists and then writes with a plain SET. Of twenty requests with one key that
#   arrive together at one process, each that comes before the first SET is carried out and gets a 200 of its own.
# Versions: express-idempotency-redis-adapter 1.0.8, express-idempotency 1.0.6, express 5.3.0, Redis 7.0.15 (Debian 12's
#   redis-server package has to be installed).
# Output seen:
#   20 requests with one key: the handler ran 4 times, answers 200 409
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; wait; rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund express@5.3.0 express-idempotency@1.0.6 express-idempotency-redis-adapter@1.0.8
redis-server --version
redis-server --port 0 --unixsocket redis.sock --save '' --dir "$work" > /dev/null &
until [ -S redis.sock ]; do sleep 0.1; done

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import express from 'express'
import { getSharedIdempotencyService, idempotency } from 'express-idempotency'
import adapters from 'express-idempotency-redis-adapter'

const RedisAdapter = adapters.default
const dataAdapter = new RedisAdapter({ connectionConfig: { socket: { path: 'redis.sock' } } })
await dataAdapter.connect()
let runs = 0
const app = express()
app.use(idempotency({ dataAdapter }))
app.post('/', async (request, response) => {
  if (getSharedIdempotencyService().isHit(request)) return
  runs++
  await sleep(1000)
  response.send('charged')
})
app.use((error, request, response, next) => response.end(error.message))
const server = app.listen(0, '127.0.0.1')
await new Promise(resolve => server.once('listening', resolve))

const url = `http://127.0.0.1:${server.address().port}/`
const options = { method: 'POST', headers: { 'idempotency-key': 'order-A' } }
const answers = await Promise.all(Array.from({ length: 20 }, () => fetch(url, options)))
const statuses = [...new Set(answers.map(({ status }) => status))]
console.log(`${answers.length} requests with one key: the handler ran ${runs} times, answers`, ...statuses)
assert.ok(runs > 1)
// The adapter writes once more after each answer.
await sleep(500)
process.exit()
JS
node main.js
