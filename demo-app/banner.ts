import { DEMO_TOKENS } from './auth.ts'

/** A snippet for people to copy and run. It is not JSON, so it is printed and not logged. */
export function banner (url: string): string {
  return `
Payment service on ${url}. Paste this to create an order and pay it twice with one key:
one charge, and the second answer is the first one again, with "idempotent-replayed: true".

URL=${url}; TOKEN='Authorization: Bearer ${DEMO_TOKENS.alice}'; JSON='Content-Type: application/json'
ORDER=$(curl -s $URL/orders -H "$TOKEN" -H "$JSON" -H "Idempotency-Key: order-$(date +%s)" \\
  -d '{"amount":1999,"currency":"EUR"}' | sed 's/.*"id":"\\([^"]*\\)".*/\\1/')
for TRY in 1 2; do
  curl -si $URL/orders/$ORDER/pay -H "$TOKEN" -H "$JSON" -H "Idempotency-Key: pay-$ORDER" -d '{"method":"card"}'; echo
done

`
}

/** A URL that a client on this machine can open. No client can open 0.0.0.0. */
export function localUrl (host: string, port: string): string {
  const name = host === '0.0.0.0' || host === '::' ? 'localhost' : host.includes(':') ? `[${host}]` : host
  return `http://${name}:${port}`
}
