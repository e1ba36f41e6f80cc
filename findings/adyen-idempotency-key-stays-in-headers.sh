#!/usr/bin/env bash
# Expected: `{ headers, idempotencyKey }` of a call applies to that call: a `headers` object that an app keeps for all
#   of its calls comes back as it was, and a call without a key is sent without one.
# Seen: the SDK writes the key (with the API key and six more fields) into the caller's own headers object. The next
#   payment, made without a key but with the same headers, is sent with the key of the payment before, which to the
#   server is a retry of it.
# Version: @adyen/api-library 32.1.0.
# Output seen:
#   sent: order-A with Idempotency-Key order-A
#   sent: order-B with Idempotency-Key order-A
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund @adyen/api-library@32.1.0
# The SDK speaks TLS only.
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
  -keyout key.pem -out certificate.pem 2> /dev/null

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import https from 'node:https'
import adyen from '@adyen/api-library'

const sent = []
const tls = { key: readFileSync('key.pem'), cert: readFileSync('certificate.pem') }
const server = https.createServer(tls, async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  sent.push([JSON.parse(body).reference, request.headers['idempotency-key']])
  response.end('{}')
})
await new Promise(resolve => server.listen(0, resolve))

const client = new adyen.Client(new adyen.Config({ apiKey: 'none', environment: 'TEST' }))
const { PaymentsApi: payments } = new adyen.CheckoutAPI(client)
payments.baseUrl = `https://localhost:${server.address().port}`
const headers = { 'x-shop': '7' }
const payment = { merchantAccount: 'shop', amount: { currency: 'EUR', value: 1000 }, returnUrl: 'https://example.com/' }
await payments.payments({ ...payment, reference: 'order-A' }, { headers, idempotencyKey: 'order-A' })
await payments.payments({ ...payment, reference: 'order-B' }, { headers })
server.closeAllConnections()
server.close()

for (const [reference, key] of sent) console.log(`sent: ${reference} with Idempotency-Key ${key}`)
assert.deepEqual(sent, [['order-A', 'order-A'], ['order-B', 'order-A']])
assert.equal(headers['Idempotency-Key'], 'order-A')
JS
NODE_EXTRA_CA_CERTS=certificate.pem node main.js
