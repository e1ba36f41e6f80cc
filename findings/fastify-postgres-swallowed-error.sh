#!/usr/bin/env bash
# Expected: `app.pg.transact(callback)` resolves when the transaction was committed, and a route with
#   `pg: { transact: true }` answers its 2xx only then.
# Seen: a statement fails, the callback (or handler) catches its error and goes on, as for a duplicate that is to be
#   ignored. Postgres then answers COMMIT with the tag ROLLBACK, which is no error to pg, and nobody looks at the tag:
#   transact() resolves with the callback's result, the route answers 201, and nothing at all is stored. (The README
#   warns routes not to catch errors, as they would not be rolled back then. They are, and nobody is told.)
# Versions: @fastify/postgres 6.1.0, pg 8.23.1, fastify 5.12.8; Postgres 18.6 (PGlite 0.5.14; 15.18 does the same).
# Output seen:
#   transact() resolved with: stored
#   route answered: 201 {"stored":true}
#   rows: []
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund fastify@5.12.8 @fastify/postgres@6.1.0 pg@8.23.1 \
  @electric-sql/pglite@0.5.14 @electric-sql/pglite-socket@0.2.17

cat > main.js <<'JS'
import assert from 'node:assert/strict'
import { PGlite } from '@electric-sql/pglite'
import { PGLiteSocketServer } from '@electric-sql/pglite-socket'
import postgres from '@fastify/postgres'
import Fastify from 'fastify'

const database = await PGlite.create()
const server = new PGLiteSocketServer({ db: database, port: 0, host: '127.0.0.1' })
await server.start()
console.log((await database.query('SELECT version()')).rows[0].version)
await database.exec('CREATE TABLE orders (id text PRIMARY KEY)')

const app = Fastify()
await app.register(postgres, { host: '127.0.0.1', port: server.port, user: 'postgres', database: 'postgres', max: 1 })

async function placeTwice (client, id) {
  await client.query('INSERT INTO orders VALUES ($1)', [id])
  await client.query('INSERT INTO orders VALUES ($1)', [id]).catch(error => assert.equal(error.code, '23505'))
  return 'stored'
}

app.post('/orders', { pg: { transact: true } }, async (request, reply) => {
  reply.code(201)
  return { stored: await placeTwice(request.pg, 'by route') === 'stored' }
})

const result = await app.pg.transact(client => placeTwice(client, 'by transact'))
console.log('transact() resolved with:', result)
const answer = await app.inject({ method: 'POST', url: '/orders' })
console.log('route answered:', answer.statusCode, answer.body)
const { rows } = await app.pg.query('SELECT * FROM orders')
console.log('rows:', rows)
await app.close()
await server.stop()
assert.deepEqual([result, answer.statusCode, answer.json(), rows], ['stored', 201, { stored: true }, []])
JS
node main.js
