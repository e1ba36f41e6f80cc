#!/usr/bin/env bash
# Expected: `pluginTimeout` bounds the start of plugins, as Fastify's reference says ("in which a plugin can load").
#   A slow onClose hook is waited for however long it takes, so a slow preClose hook is as well.
# Seen: a preClose hook that takes longer than `pluginTimeout` (10 s unless set) is given up: the onClose hooks run
#   beside it and app.close() rejects with an error that speaks of a plugin which did not start and names none.
# Version: fastify 5.12.8.
# Output seen:
#   slow onClose: closed, the hook had ended
#   slow preClose: AVV_ERR_READY_TIMEOUT, "Plugin did not start in time: ''. You may have forgotten to call 'done'
#   function or to resolve a Promise", the hook had not ended, the onClose hook had run
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund fastify@5.12.8

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

console.log('fastify', Fastify().version)

async function close (slowHook) {
  const app = Fastify({ pluginTimeout: 300 })
  const seen = { ended: false, onClose: false }
  app.addHook('onClose', async () => { seen.onClose = true })
  app.addHook(slowHook, async () => {
    await sleep(2000)
    seen.ended = true
  })
  await app.listen({ port: 0 })
  const error = await app.close().then(() => undefined, error => error)
  return { ...seen, code: error?.code, message: error?.message }
}

const slowOnClose = await close('onClose')
console.log('slow onClose:', slowOnClose)
assert.deepEqual(slowOnClose, { ended: true, onClose: true, code: undefined, message: undefined })

const slowPreClose = await close('preClose')
console.log('slow preClose:', slowPreClose)
assert.equal(slowPreClose.ended, false)
assert.equal(slowPreClose.onClose, true)
assert.equal(slowPreClose.code, 'AVV_ERR_READY_TIMEOUT')
assert.match(slowPreClose.message, /^Plugin did not start in time: ''/)
JS
node main.js
