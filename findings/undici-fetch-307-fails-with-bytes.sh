#!/usr/bin/env bash
# Expected: 307 and 308 say that the same POST is to be sent to another address, so `fetch` follows them with every body that it
#   can send twice: bytes as well as text.
# Seen: text is sent on. With bytes (Uint8Array, ArrayBuffer, Buffer) `fetch` rejects with "fetch failed" after the first
#   server has had the whole body, each time; a client that retries network errors never gets further, and the second server
#   never hears of it. undici 7.30.2 sends bytes on; Node.js 20 and 22 have undici 6 inside.
# Versions: undici 6.29.1 (and the fetch of Node.js 20.20.2), undici 7.30.2.
# Output seen:
#   undici 6.29.1, text: 200
#   undici 6.29.1, bytes: TypeError: fetch failed, TypeError: Cannot perform ArrayBuffer.prototype.slice on a detached ArrayBuffer
#   undici 7.30.2, text: 200
#   undici 7.30.2, bytes: 200
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund undici-6@npm:undici@6.29.1 undici-7@npm:undici@7.30.2
cat > run.mjs <<'JS'
import assert from 'node:assert/strict'
import http from 'node:http'

const server = http.createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  if (request.url === '/old') response.writeHead(307, { location: '/new' })
  response.end(body)
})
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
const seen = {}
for (const [version, { fetch }] of [['6.29.1', await import('undici-6')], ['7.30.2', await import('undici-7')]]) {
  for (const [kind, body] of [['text', 'charge'], ['bytes', new TextEncoder().encode('charge')]]) {
    const name = `undici ${version}, ${kind}`
    seen[name] = await fetch(`http://127.0.0.1:${server.address().port}/old`, { method: 'POST', body })
      .then(response => String(response.status), error => `${error}, ${error.cause}`)
    console.log(`${name}: ${seen[name]}`)
  }
}
server.closeAllConnections()
server.close()
assert.match(seen['undici 6.29.1, bytes'], /fetch failed.*detached ArrayBuffer/)
for (const name of ['undici 6.29.1, text', 'undici 7.30.2, text', 'undici 7.30.2, bytes']) assert.equal(seen[name], '200')
JS
node run.mjs
