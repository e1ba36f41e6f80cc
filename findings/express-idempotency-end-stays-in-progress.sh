#!/usr/bin/env bash
# Expected: an idempotency middleware notices that the handler has answered, however it did: with send(), json(), end(),
#   a stream or a file. A repeated request gets the stored answer, or is carried out again if none was stored.
# Seen: only answers that go through response.send() count. After response.status(204).end() (or a stream) the key stays
#   "in progress" although the client has its 204: each repetition is a 409, with the default store for as long as the
#   process lives.
# Versions: express-idempotency 1.0.6, express 5.3.0.
# Output seen:
#   send: 200 200 (handler ran once)
#   end: 204 409 "A previous request is still in progress for this key." (handler ran once)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund express@5.3.0 express-idempotency@1.0.6

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import express from 'express'
import { getSharedIdempotencyService, idempotency } from 'express-idempotency'

const app = express()
app.use(idempotency())
const runs = { send: 0, end: 0 }
function route (name, answer) {
  app.delete(`/${name}`, (request, response) => {
    if (getSharedIdempotencyService().isHit(request)) return
    runs[name]++
    answer(response)
  })
}
route('send', response => response.send('deleted'))
route('end', response => response.status(204).end())
app.use((error, request, response, next) => response.end(error.message))
const server = app.listen(0, '127.0.0.1')
await new Promise(resolve => server.once('listening', resolve))

async function twice (name) {
  const answers = []
  for (let i = 0; i < 2; i++) {
    const url = `http://127.0.0.1:${server.address().port}/${name}`
    // The next request is made when the answer has arrived whole.
    const answer = await fetch(url, { method: 'DELETE', headers: { 'idempotency-key': `key-${name}` } })
    answers.push(answer.status, await answer.text())
  }
  console.log(`${name}:`, answers, 'handler ran', runs[name])
  return answers
}
assert.deepEqual(await twice('send'), [200, 'deleted', 200, 'deleted'])
assert.deepEqual(await twice('end'), [204, '', 409, 'A previous request is still in progress for this key.'])
assert.deepEqual(runs, { send: 1, end: 1 })
server.closeAllConnections()
server.close()
JS
node main.js
