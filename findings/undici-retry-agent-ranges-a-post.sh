#!/usr/bin/env bash
# Expected: RetryAgent with `methods: ['POST']` either sends the same POST again or gives up when the answer breaks off.
# Seen: it sends the POST again, body and all, but as another request, with `Range: bytes=N-M` and `If-Match`, which are
#   defined for GET only. The server carries it out a second time, its whole, successful answer is thrown away, and the
#   caller, who has the status 201 since the first answer, gets an error about the range.
# Versions: undici 7.30.2 (8.12.4 does the same).
# Output seen:
#   status 201, then UND_ERR_REQ_RETRY: server does not support the range header and the payload was partially consumed
#   POST amount=1 range: undefined if-match: undefined
#   POST amount=1 range: bytes=10-19 if-match: "v1"
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund undici@7.30.2

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import http from 'node:http'
import { Agent, RetryAgent, request } from 'undici'

const answer = '{"charge":"ch_0001"}'
const received = []
let breakOff
const server = http.createServer(async (incoming, response) => {
  let body = ''
  for await (const chunk of incoming) body += chunk
  received.push([incoming.method, body, incoming.headers.range, incoming.headers['if-match']])
  response.writeHead(201, { 'content-type': 'application/json', 'content-length': answer.length, etag: '"v1"' })
  if (received.length > 1) return response.end(answer)
  response.write(answer.slice(0, 10))
  breakOff = () => response.destroy()
})
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))

const dispatcher = new RetryAgent(new Agent(), { methods: ['POST'], minTimeout: 10 })
const url = `http://127.0.0.1:${server.address().port}/charges`
const { statusCode, body } = await request(url, { method: 'POST', body: 'amount=1', dispatcher })
// The part has arrived before the connection ends.
let text = ''
const error = await (async () => {
  for await (const chunk of body) if ((text += chunk).length === 10) breakOff()
})().catch(error => error)
await dispatcher.close()
server.close()

console.log(`status ${statusCode}, then ${error?.code}: ${error?.message}`)
for (const [method, sent, range, ifMatch] of received) console.log(method, sent, 'range:', range, 'if-match:', ifMatch)
assert.equal(error?.code, 'UND_ERR_REQ_RETRY')
assert.deepEqual(received, [['POST', 'amount=1', undefined, undefined], ['POST', 'amount=1', 'bytes=10-19', '"v1"']])
JS
node main.js
