#!/usr/bin/env bash
# Expected: with `enforceIdempotency` a request without a key fails with the code that the library exports for it,
#   IDEMPOTENCY_KEY_MISSING, and one whose key is too long with IDEMPOTENCY_KEY_LEN_EXEEDED.
# Seen: both have IDEMPOTENCY_KEY_LEN_EXEEDED; IDEMPOTENCY_KEY_MISSING is never used. An app that answers by code tells
#   a client without a key that its key is too long. And equal JSON is not the same request: a retry whose members come
#   in another order (from another language, through a gateway) has another fingerprint and is refused.
# Versions: @node-idempotency/core 1.0.11, @node-idempotency/storage-adapter-memory 1.0.2.
# Output seen:
#   no key: IDEMPOTENCY_KEY_LEN_EXEEDED
#   key of 300 characters: IDEMPOTENCY_KEY_LEN_EXEEDED
#   same body: { placed: true }
#   same body, members in another order: IDEMPOTENCY_FINGERPRINT_MISSMATCH
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund @node-idempotency/core@1.0.11 @node-idempotency/storage-adapter-memory@1.0.2

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import { Idempotency, IdempotencyErrorCodes } from '@node-idempotency/core'
import { MemoryStorageAdapter } from '@node-idempotency/storage-adapter-memory'

const idempotency = new Idempotency(new MemoryStorageAdapter(), { enforceIdempotency: true })
async function ask (what, key, body) {
  const headers = key === undefined ? {} : { 'idempotency-key': key }
  const request = { method: 'POST', path: '/orders', headers, body }
  const result = await idempotency.onRequest(request).then(stored => stored?.body, error => error.code)
  console.log(`${what}:`, result)
  if (result === undefined) await idempotency.onResponse(request, { body: { placed: true } })
  return result
}

const { IDEMPOTENCY_KEY_LEN_EXEEDED, IDEMPOTENCY_FINGERPRINT_MISSMATCH } = IdempotencyErrorCodes
assert.ok('IDEMPOTENCY_KEY_MISSING' in IdempotencyErrorCodes)
assert.equal(await ask('no key', undefined, {}), IDEMPOTENCY_KEY_LEN_EXEEDED)
assert.equal(await ask('key of 300 characters', 'k'.repeat(300), {}), IDEMPOTENCY_KEY_LEN_EXEEDED)
assert.equal(await ask('first request', 'key', { item: 1, count: 2 }), undefined)
assert.deepEqual(await ask('same body', 'key', { item: 1, count: 2 }), { placed: true })
const reordered = await ask('same body, members in another order', 'key', { count: 2, item: 1 })
assert.equal(reordered, IDEMPOTENCY_FINGERPRINT_MISSMATCH)
process.exit()
JS
node main.js
