import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import autoload from '@fastify/autoload'
import Fastify from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { clientOf } from './helper.ts'

const PLUGIN = pathToFileURL(join(import.meta.dirname, '../plugin/index.ts')).href

/** The package as a plugin in the app's own folder, with its options beside it. */
const ITSELF = `import idempotency, { MemoryStore } from '${PLUGIN}'
export default idempotency
export const autoConfig = { store: new MemoryStore(), scope: 'global' }`

const WRAPPED = `import idempotency, { MemoryStore } from '${PLUGIN}'
import fp from '${import.meta.resolve('fastify-plugin')}'
export default fp(async (app, options) => {
  await app.register(idempotency, { ...options, store: new MemoryStore(), scope: 'global' })
})`

const ROUTE = 'export default async (app) => { ' +
  "app.post('/pay', { config: { idempotency: true } }, async () => ({ id: crypto.randomUUID() })) }"

/** Where the plugin lies, and which of the two forms it has. */
const LAYOUTS: Record<string, Record<string, string>> = {
  'in the folder itself': { 'plugins/idempotency.mjs': ITSELF },
  'in a subfolder, which gives it a prefix': { 'plugins/idempotency/index.mjs': ITSELF },
  'wrapped, in a subfolder whose options it hands on': { 'plugins/idempotency/index.mjs': WRAPPED }
}

async function load (t: Test, plugins: Record<string, string>, options: Record<string, unknown>): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'test-autoload-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  for (const [path, text] of Object.entries({ ...plugins, 'routes/orders/index.mjs': ROUTE })) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), text)
  }
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  await app.register(autoload, { dir: join(directory, 'plugins'), options })
  await app.register(autoload, { dir: join(directory, 'routes') })
  return app.listen({ port: 0, host: '127.0.0.1' })
}

for (const [layout, plugins] of Object.entries(LAYOUTS)) {
  for (const options of [{}, { prefix: '/v1', logLevel: 'warn', logSerializers: { id: String } }]) {
    t.test(`@fastify/autoload loads it ${layout}, with options ${JSON.stringify(Object.keys(options))}`, async (t) => {
      const client = clientOf(await load(t, plugins, options))
      const first = await client.post('/orders/pay', 'k')
      t.equal(first.status, 200)
      const again = await client.post('/orders/pay', 'k')
      t.equal(again.text, first.text)
      t.equal(again.replayed, true)
    })
  }
}
