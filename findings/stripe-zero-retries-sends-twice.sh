#!/usr/bin/env bash
# Expected: with `maxNetworkRetries: 0` a call is sent once ("0" means: no retry), as an app wants that counts attempts
#   itself or has to answer within a deadline.
# Seen: when the server closes the connection without an answer, the request is sent a second time (same generated
#   Idempotency-Key), and the error says "Request was retried 1 times". A 503 is not sent again.
# Version: stripe 23.1.0.
# Output seen:
#   connection closed: sent 2 time(s), An error occurred with our connection to Stripe. Request was retried 1 times.
#   503: sent 1 time(s), Unavailable
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund stripe@23.1.0

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import http from 'node:http'
import Stripe from 'stripe'

let keys, close
const server = http.createServer((request, response) => {
  request.resume().on('end', () => {
    keys.push(request.headers['idempotency-key'])
    if (close) request.socket.destroy()
    else response.writeHead(503).end('{"error":{"message":"Unavailable"}}')
  })
})
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
const { port } = server.address()
const stripe = new Stripe('sk_test_none', { host: '127.0.0.1', port, protocol: 'http', maxNetworkRetries: 0 })
console.log('stripe', Stripe.PACKAGE_VERSION)

async function charge (closing) {
  keys = []
  close = closing
  const { message } = await stripe.charges.create({ amount: 100, currency: 'eur' }).catch(error => error)
  console.log(closing ? 'connection closed:' : '503:', `sent ${keys.length} time(s),`, message)
  return message
}

assert.match(await charge(true), /retried 1 times/)
assert.equal(keys.length, 2)
assert.equal(keys[0], keys[1])
await charge(false)
assert.equal(keys.length, 1)
server.closeAllConnections()
server.close()
JS
node main.js
