#!/usr/bin/env bash
# Expected: the Idempotency-Key draft makes the field a string in quotes (RFC 8941). Most clients send a bare UUID; a
#   structured-field parser refuses all of those or none, so that trying a few tells whether it can be used for them.
# Seen: it depends on the UUID's first character. A letter (6 of 16 UUIDs) begins a token, and the whole UUID is one; a
#   digit (10 of 16) begins a number, and the parser throws. Keys of digits only come back changed: 007 as the number 7.
#   So a service that reads keys with such a parser passes a few tests and refuses ten of sixteen requests.
# Version: structured-headers 2.1.0.
# Output seen:
#   of 16 bare UUIDs, by first character: parsed a b c d e f refused 0 1 2 3 4 5 6 7 8 9
#   007 -> 7 1.10 -> 1.1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund structured-headers@2.1.0

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import { ParseError, Token, parseItem } from 'structured-headers'

const parsed = []
const refused = []
for (const first of '0123456789abcdef') {
  const key = `${first}e03978e-40d5-43dd-bc93-6894a57f9324`
  assert.equal(parseItem(`"${key}"`)[0], key)
  try {
    const [value] = parseItem(key)
    assert.ok(value instanceof Token && value.toString() === key)
    parsed.push(first)
  } catch (error) {
    assert.ok(error instanceof ParseError)
    refused.push(first)
  }
}
console.log('of 16 bare UUIDs, by first character: parsed', ...parsed, 'refused', ...refused)
assert.equal(parsed.join(''), 'abcdef')
assert.equal(refused.join(''), '0123456789')

const numbers = [parseItem('007')[0], parseItem('1.10')[0]]
console.log('007 ->', numbers[0], '1.10 ->', numbers[1])
assert.deepEqual(numbers, [7, 1.1])
JS
node main.js
