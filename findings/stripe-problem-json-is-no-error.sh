#!/usr/bin/env bash
# Expected: the SDK rejects a call that was answered 409, 422 or 503, whatever the body is: a gateway or test double
#   that answers with a problem document (RFC 9457) in place of Stripe's own format is told by the status.
# Seen: only a member `error` in the body makes an error. Without it the promise resolves with the problem document as
#   if it were the charge: `charge.id` is undefined and `charge.status` is 422. (409 and 503 resolve too, once the
#   retries are used up or forbidden.)
# Version: stripe 23.1.0.
# Output seen (for each of 400, 409, 422, 503):
#   422: resolved with { type: 'about:blank', title: 'Refused', status: 422 }
#   422 with a member error: StripeAPIError
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

let answer
const server = http.createServer((request, response) => {
  request.resume().on('end', () => {
    const headers = { 'content-type': 'application/problem+json', 'stripe-should-retry': 'false' }
    response.writeHead(answer.status, headers).end(JSON.stringify(answer))
  })
})
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
const stripe = new Stripe('sk_test_none', { host: '127.0.0.1', port: server.address().port, protocol: 'http' })
console.log('stripe', Stripe.PACKAGE_VERSION)

for (const status of [400, 409, 422, 503]) {
  answer = { type: 'about:blank', title: 'Refused', status }
  const charge = await stripe.charges.create({ amount: 100, currency: 'eur', source: 'tok_visa' })
  console.log(`${status}: resolved with`, charge)
  assert.deepEqual({ ...charge }, answer)

  answer = { status, error: { message: 'Refused' } }
  const error = await stripe.charges.create({ amount: 100, currency: 'eur' }).catch(error => error)
  console.log(`${status} with a member error:`, error.type)
  assert.equal(error.statusCode, status)
}
server.closeAllConnections()
server.close()
JS
node main.js
