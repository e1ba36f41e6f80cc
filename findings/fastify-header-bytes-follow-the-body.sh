#!/usr/bin/env bash
# Expected: the bytes of a header depend on its value alone: a route that sends a file under a name such as "Mü.pdf" sends
#   the same `content-disposition` whatever the body is made of.
# Seen: beside a body that is a string the header leaves in UTF-8, beside a Buffer or a stream in Latin-1. Node.js writes the
#   headers and a string in one go, in the string's encoding. So an answer that is kept as bytes and sent again, by a cache
#   or an `onSend` hook that makes a Buffer of it, has other header bytes than the first one.
# Versions: fastify 5.12.8, Node.js 20.
# Output seen:
#   string: M c3 bc .pdf
#   buffer: M fc .pdf
#   stream: M fc .pdf
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund fastify@5.12.8
cat > run.mjs <<'JS'
import assert from 'node:assert/strict'
import net from 'node:net'
import { Readable } from 'node:stream'
import Fastify from 'fastify'

const app = Fastify()
const bodies = {
  string: () => 'receipt',
  buffer: () => Buffer.from('receipt'),
  stream: () => Readable.from([Buffer.from('receipt')])
}
for (const [name, body] of Object.entries(bodies)) {
  app.get(`/${name}`, async (request, reply) => {
    reply.type('text/plain').header('content-disposition', 'attachment; filename="Mü.pdf"')
    return body()
  })
}
await app.listen({ port: 0, host: '127.0.0.1' })

async function answer (path) {
  const socket = net.connect(app.server.address().port, '127.0.0.1')
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
  return Buffer.concat(await socket.toArray())
}

const seen = {}
for (const name of Object.keys(bodies)) {
  const bytes = await answer(`/${name}`)
  const letter = bytes.subarray(bytes.indexOf('filename="M') + 'filename="M'.length, bytes.indexOf('.pdf"'))
  seen[name] = letter.toString('hex').replace(/..(?=.)/g, '$& ')
  console.log(`${name}: M ${seen[name]} .pdf`)
}
await app.close()
assert.deepEqual(seen, { string: 'c3 bc', buffer: 'fc', stream: 'fc' })
JS
node run.mjs
