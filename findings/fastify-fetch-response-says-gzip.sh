#!/usr/bin/env bash
# Expected: Fastify documents that a handler may return a `Response`. So the `Response` of a `fetch()` to another service, which
#   answers with gzip as many do, reaches the client in a form that it can read: as that service sent it, or decoded.
# Seen: `fetch` decodes the body and leaves `content-encoding: gzip` among the headers; Fastify sends both. The client gets
#   plain JSON that says that it is gzip, and every client that decodes fails, even one that did not ask for gzip.
#   A proxy that is written in one line works until the other service begins to compress.
# Versions: fastify 5.12.8, the fetch of Node.js 20.20.2.
# Output seen:
#   content-encoding: gzip
#   body: {"charge":1}
#   decoded: Z_DATA_ERROR
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund fastify@5.12.8
cat > run.mjs <<'JS'
import assert from 'node:assert/strict'
import http from 'node:http'
import { buffer } from 'node:stream/consumers'
import { gunzipSync, gzipSync } from 'node:zlib'
import Fastify from 'fastify'

const upstream = http.createServer((request, response) => {
  request.resume()
  response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip', 'transfer-encoding': 'chunked' })
  response.end(gzipSync('{"charge":1}'))
})
await new Promise(resolve => upstream.listen(0, '127.0.0.1', resolve))

const app = Fastify()
app.post('/charges', () => fetch(`http://127.0.0.1:${upstream.address().port}`, { method: 'POST' }))
const url = await app.listen({ port: 0, host: '127.0.0.1' })

const response = await new Promise((resolve, reject) => {
  http.request(`${url}/charges`, { method: 'POST', agent: false }, resolve).on('error', reject).end()
})
const body = await buffer(response)
let decoded
try {
  decoded = gunzipSync(body).toString()
} catch ({ code }) {
  decoded = code
}
console.log(`content-encoding: ${response.headers['content-encoding']}\nbody: ${body}\ndecoded: ${decoded}`)
await app.close()
upstream.closeAllConnections()
upstream.close()
assert.equal(response.headers['content-encoding'], 'gzip')
assert.equal(body.toString(), '{"charge":1}')
assert.equal(decoded, 'Z_DATA_ERROR')
JS
node run.mjs
