#!/usr/bin/env bash
# Expected: a Fastify plugin registered in a Nest application answers as it does on Fastify alone, which takes the
#   status from an error's `statusCode` (Nest 11 did so too): beyond its limit @fastify/rate-limit says 429.
# Seen: Nest 12 makes each such error a 500 "Internal server error" unless it looks like an error of http-errors: the
#   client that is over the limit is told that the server failed, with rate-limit's own retry-after header beside it.
#   The same holds for an Error with a statusCode that a controller throws.
# Versions: @nestjs/core 12.5.1, @nestjs/platform-fastify 12.5.0, @fastify/rate-limit 11.2.0 (fastify 5.12.8).
# Output seen:
#   fastify alone: 200, then 429
#   Nest: 200, then 500 {"statusCode":500,"message":"Internal server error"}, retry-after 60
#   Nest, controller throws a 409: 500
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund --ignore-scripts @nestjs/common@12.5.1 @nestjs/core@12.5.1 \
  @nestjs/platform-fastify@12.5.0 reflect-metadata@0.2.2 rxjs@7.8.2 @fastify/rate-limit@11.2.0 fastify@5.12.8

cat > main.js <<'JS'
import 'reflect-metadata'
import assert from 'node:assert/strict'
import rateLimit from '@fastify/rate-limit'
import { Controller, Get, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import Fastify from 'fastify'

const alone = Fastify()
await alone.register(rateLimit, { max: 1 })
alone.get('/fine', async () => ({ ok: true }))
const aloneSaid = [(await alone.inject('/fine')).statusCode, (await alone.inject('/fine')).statusCode]
console.log('fastify', alone.version, 'alone:', aloneSaid)
assert.deepEqual(aloneSaid, [200, 429])

class Orders {
  fine () { return { ok: true } }
  taken () { throw Object.assign(new Error('Taken'), { statusCode: 409 }) }
}
for (const name of ['fine', 'taken']) {
  Get(name)(Orders.prototype, name, Object.getOwnPropertyDescriptor(Orders.prototype, name))
}
Controller()(Orders)
class Shop {}
Module({ controllers: [Orders] })(Shop)

const nest = await NestFactory.create(Shop, new FastifyAdapter(), { logger: false })
await nest.register(rateLimit, { max: 1 })
await nest.init()
const answers = []
for (const [url, remoteAddress] of [['/fine', '192.0.2.1'], ['/fine', '192.0.2.1'], ['/taken', '192.0.2.2']]) {
  const { statusCode, body, headers } = await nest.inject({ url, remoteAddress })
  console.log('Nest', url, statusCode, body, 'retry-after', headers['retry-after'])
  answers.push(statusCode)
}
await nest.close()
assert.deepEqual(answers, [200, 500, 500])
JS
node main.js
