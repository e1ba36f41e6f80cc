#!/usr/bin/env bash
# Expected: a job id makes adding idempotent: of two add() calls with one id the second is ignored (so the manual says),
#   and what it resolves with shows the job that is in the queue, so that the caller can see with what it was added.
# Seen: the second add() resolves with a Job that has the id of the first and the name, data and options of the second,
#   as if it had been added; its getState() and getJob() speak of the first. A caller who compares job.data with what he
#   asked for, to tell a retry from a misuse of the id, always finds them equal. No error, no flag.
# Versions: bullmq 6.7.0 with ioredis 6.0.0, Redis 7.0.15 (Debian 12's redis-server package has to be installed).
# Output seen:
#   second add():  refund { amount: 500 } delay 60000, state waiting
#   in the queue:  charge { amount: 1 } delay 0, { ..., delayed: 0, waiting: 1 }
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; wait; rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund bullmq@6.7.0 ioredis@6.0.0
redis-server --version
redis-server --port 0 --unixsocket redis.sock --save '' --dir "$work" > /dev/null &
until [ -S redis.sock ]; do sleep 0.1; done

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import { Queue } from 'bullmq'

const queue = new Queue('payments', { connection: { path: 'redis.sock' } })
await queue.add('charge', { amount: 1 }, { jobId: 'order-A' })
const second = await queue.add('refund', { amount: 500 }, { jobId: 'order-A', delay: 60000 })
const state = await second.getState()
const stored = await queue.getJob('order-A')
const counts = await queue.getJobCounts()
await queue.close()

console.log('second add(): ', second.name, second.data, `delay ${second.delay}, state ${state}`)
console.log('in the queue: ', stored.name, stored.data, `delay ${stored.delay},`, counts)
assert.deepEqual([second.id, second.name, second.data, second.delay], ['order-A', 'refund', { amount: 500 }, 60000])
assert.deepEqual([stored.id, stored.name, stored.data, stored.delay], ['order-A', 'charge', { amount: 1 }, 0])
assert.equal(state, 'waiting')
assert.deepEqual([counts.waiting, counts.delayed], [1, 0])
JS
node main.js
