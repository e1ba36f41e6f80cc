#!/usr/bin/env bash
# Expected: the request option `idempotencyKey`, which the types describe as a unique key for this request to enable
#   idempotency, is sent as the Idempotency-Key header, as by other SDKs made by the same generator.
# Seen: it is sent nowhere, neither in the header nor in the body, without a warning; and each retry is a POST that
#   nothing marks as one. The generator's code is there, but no header name was configured.
# Versions: openai 7.55.0; modern-treasury 3.3.0 for comparison.
# Output seen:
#   openai sent 2 POSTs with idempotency-key: [ undefined, undefined ]
#   modern-treasury sent 2 POSTs with idempotency-key: [ 'order-1', 'order-1' ]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund openai@7.55.0 modern-treasury@3.3.0

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import http from 'node:http'
import ModernTreasury from 'modern-treasury'
import OpenAI from 'openai'

let seen = []
let text = ''
const server = http.createServer((request, response) => {
  request.on('data', chunk => { text += chunk }).on('end', () => {
    seen.push(request.headers['idempotency-key'])
    text += JSON.stringify(request.rawHeaders)
    // The first answer is one that the SDK retries.
    response.writeHead(seen.length === 1 ? 503 : 200, { 'content-type': 'application/json', 'retry-after-ms': '1' })
    response.end('{}')
  })
})
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
const baseURL = `http://127.0.0.1:${server.address().port}`
const option = { idempotencyKey: 'order-1' }

const openai = new OpenAI({ apiKey: 'none', baseURL })
await openai.chat.completions.create({ model: 'any', messages: [] }, option)
console.log(`openai sent ${seen.length} POSTs with idempotency-key:`, seen)
assert.deepEqual(seen, [undefined, undefined])
assert.ok(!text.includes('order-1'))

seen = []
const treasury = new ModernTreasury({ apiKey: 'none', organizationID: 'none', baseURL })
await treasury.counterparties.create({ name: 'Any' }, option)
console.log(`modern-treasury sent ${seen.length} POSTs with idempotency-key:`, seen)
assert.deepEqual(seen, ['order-1', 'order-1'])
server.closeAllConnections()
server.close()
JS
node main.js
