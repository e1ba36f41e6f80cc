import postgres from '@fastify/postgres'
import Fastify from 'fastify'
import idempotency from 'fastify-idempotency'
import { postgresJournal } from 'fastify-idempotency/postgres'
import { Redis } from 'ioredis'

const port = process.env.PORT || '3000'
const redisUrl = process.env.REDIS_URL || 'redis://localhost:6379'
const databaseUrl = process.env.DATABASE_URL || 'postgres://postgres@localhost:5432/postgres'
const isUrl = (text, protocols) => protocols.test(text) && URL.canParse(text)
const problems = []
if (!/^\d{1,5}$/.test(port)) problems.push('PORT must be a number, such as 3000')
if (!isUrl(redisUrl, /^rediss?:\/\//)) problems.push('REDIS_URL must be a URL, such as redis://localhost:6379')
if (!isUrl(databaseUrl, /^postgres(ql)?:\/\//)) {
  problems.push('DATABASE_URL must be a URL, such as postgres://postgres@localhost:5432/postgres')
}
if (problems.length > 0) {
  console.error(problems.join('\n'))
  process.exit(1)
}

const app = Fastify({ logger: true })
const redis = new Redis(redisUrl)
// ioredis connects again by itself. Until then the plugin answers 503.
redis.on('error', (err) => app.log.error({ err }, 'Redis cannot be reached'))

// Register the database before the plugin: then it is closed after the requests that use it have finished.
await app.register(postgres, { connectionString: databaseUrl })
const journal = postgresJournal(app.pg)
// A real service does this in its migrations: journalSchema() returns the SQL of the journal's table.
await app.pg.query('CREATE TABLE IF NOT EXISTS orders (id serial PRIMARY KEY, item text NOT NULL)')
await journal.createTable()

// 'global' is for a service with one caller. With several, return the id of the authenticated caller.
await app.register(idempotency, { redis, scope: 'global', journal })

const schema = { body: { type: 'object', required: ['item'], properties: { item: { type: 'string' } } } }

app.post('/orders', { schema, config: { idempotency: true } }, async (request, reply) => {
  reply.code(201)
  return app.pg.transact(async (tx) => {
    const { rows: [order] } = await tx.query('INSERT INTO orders (item) VALUES ($1) RETURNING *', [request.body.item])
    // The last statement before the commit: either the order and its answer are stored, or neither is.
    return request.idempotency.complete(tx, { statusCode: 201, body: order })
  })
})

await app.listen({ port: Number(port) })

for (const signal of ['SIGINT', 'SIGTERM']) {
  // Redis comes last: the outcomes of requests that still run are stored there.
  process.on(signal, () => app.close().then(() => redis.disconnect()))
}
