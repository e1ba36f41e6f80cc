#!/usr/bin/env bash
# Expected: fetch sends a POST once and hands its answer to the caller, whatever its status; there is no retry in fetch.
# Seen: a POST that is answered 421 (Misdirected Request; HTTP/1.1 in plain text, one server, nothing to direct anew) is
#   sent a second time at once, body and Idempotency-Key included, and only the second answer is given to the caller.
#   A service that has done something before it says 421 does it twice. undici.request() sends it once. (The Fetch
#   standard asks for one more try on a new connection.)
# Versions: undici 7.30.2, and the fetch of Node.js 20.20.2.
# Output seen (requests received for one call):
#   421: undici fetch 2, Node.js fetch 2, undici request 1
#   503: undici fetch 1, Node.js fetch 1, undici request 1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund undici@7.30.2

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import http from 'node:http'
import { fetch as undiciFetch, getGlobalDispatcher, request } from 'undici'

let answer, received
const server = http.createServer((incoming, response) => {
  let body = ''
  incoming.on('data', chunk => { body += chunk }).on('end', () => {
    received.push(body)
    response.writeHead(answer).end(`answer ${received.length}`)
  })
})
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
const url = `http://127.0.0.1:${server.address().port}/`
const options = { method: 'POST', body: 'amount=1', headers: { 'idempotency-key': 'order-1' } }
console.log('Node.js', process.version, 'with undici', process.versions.undici)

async function count (call) {
  received = []
  const text = await call()
  assert.equal(text, `answer ${received.length}`)
  assert.ok(received.every(body => body === 'amount=1'))
  return received.length
}

for (const [status, expected] of [[421, [2, 2, 1]], [503, [1, 1, 1]]]) {
  answer = status
  const counts = [
    await count(async () => (await undiciFetch(url, options)).text()),
    await count(async () => (await fetch(url, options)).text()),
    await count(async () => (await request(url, options)).body.text())
  ]
  console.log(`${status}: undici fetch ${counts[0]}, Node.js fetch ${counts[1]}, undici request ${counts[2]}`)
  assert.deepEqual(counts, expected)
}
await getGlobalDispatcher().close()
server.closeAllConnections()
server.close()
JS
node main.js
