import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import multipart from '@fastify/multipart'
import type { FastifyInstance } from 'fastify'
import type { Client } from '../helper.ts'
import { inEachPosition } from './helper.ts'

const DIGEST = 'formDigest'

/**
 * A digest of what a form contains: its fields and the bytes of its files. Its boundary is left out, because each
 * request has another one.
 */
function digestOf (parts: Array<[name: string, value: unknown]>): string {
  const hash = createHash('sha256')
  for (const [name, value] of parts) {
    const digest = createHash('sha256')
      .update(value instanceof Uint8Array ? value : JSON.stringify(value))
      .digest('hex')
    hash.update(JSON.stringify([name, digest]))
  }
  return hash.digest('hex')
}

/** Fields and files are in `request.body` before the key is claimed: `attachFieldsToBody: 'keyValues'`. */
const attached = {
  other: (app: FastifyInstance) => app.register(multipart, { attachFieldsToBody: 'keyValues' as const }),
  routes (app: FastifyInstance, run: () => number) {
    app.post('/upload', {
      config: { idempotency: { fingerprint: request => digestOf(Object.entries(request.body as object)) } }
    }, async (request) => {
      const { note, file } = request.body as { note: string, file: Buffer }
      return { run: run(), note, size: file.length }
    })
    app.post('/unprepared', { config: { idempotency: true } }, async () => ({ run: run() }))
  }
}

/** Large files are written to the disk before the key is claimed: `saveRequestFiles()` in a preHandler. */
const saved = {
  other: (app: FastifyInstance) => app.register(multipart),
  routes (app: FastifyInstance, run: () => number) {
    app.decorateRequest(DIGEST, '')
    app.post('/upload', {
      preHandler: async (request) => {
        const { files, values } = await request.saveRequestFiles()
        const digests = files.map(async ({ fieldname, filepath }): Promise<[string, unknown]> => {
          const hash = createHash('sha256')
          await pipeline(createReadStream(filepath), hash)
          return [fieldname, hash.digest('hex')]
        })
        request.setDecorator(
          DIGEST,
          digestOf([...await Promise.all(digests), ['note', (values.note as { value: unknown }).value]])
        )
      },
      config: { idempotency: { fingerprint: request => request.getDecorator<string>(DIGEST) } }
    }, async request => ({ run: run(), files: request.savedRequestFiles?.length }))
    app.post('/unprepared', { config: { idempotency: true } }, async () => ({ run: run() }))
  }
}

const FILE = Buffer.alloc(300_000, 'bytes of an invoice ')

async function upload ({ url }: Client, path: string, key: string, note: string, file: Uint8Array): Promise<Response> {
  const form = new FormData()
  form.append('note', note)
  form.append('file', new Blob([file]), 'invoice.pdf')
  return fetch(url + path, { method: 'POST', headers: { 'idempotency-key': key }, body: form })
}

for (const [how, arrangement] of Object.entries({ 'attached to the body': attached, 'saved in a preHandler': saved })) {
  inEachPosition('an upload is replayed, ' +
    `with a fingerprint over its parts, ${how}`, arrangement, async (t, { client, runs }) => {
    const first = await upload(client, '/upload', 'k', 'for May', FILE)
    t.equal(first.status, 200)
    const second = await upload(client, '/upload', 'k', 'for May', FILE)
    t.equal(second.headers.get('idempotent-replayed'), 'true')
    t.equal(await second.text(), await first.text())
    t.equal(runs(), 1)
  })

  inEachPosition(`another file or field makes another request, ${how}`, arrangement, async (t, { client, runs }) => {
    await upload(client, '/upload', 'k', 'for May', FILE)
    t.equal((await upload(client, '/upload', 'k', 'for June', FILE)).status, 422)
    t.equal((await upload(client, '/upload', 'k', 'for May', FILE.subarray(1))).status, 422)
    t.equal(runs(), 1)
  })

  inEachPosition('an upload to a route without a fingerprint ' +
    `is refused, ${how}`, arrangement, async (t, { client, idempotency, runs }) => {
    const refused = await upload(client, '/unprepared', 'k', 'for May', FILE)
    t.equal(refused.status, 415)
    t.match(await refused.json(), { code: 'FST_IDEMPOTENCY_BODY_UNREADABLE', detail: /fingerprint/ })
    t.equal(await idempotency.find('k', 'global'), null)
    t.equal(runs(), 0)
  })
}

inEachPosition('an upload that is too large is refused by the other plugin, and claims nothing', {
  ...attached,
  other: app => app.register(multipart, { attachFieldsToBody: 'keyValues', limits: { fileSize: 1000 } })
}, async (t, { client, idempotency, runs }) => {
  t.equal((await upload(client, '/upload', 'k', 'for May', FILE)).status, 413)
  t.equal(await idempotency.find('k', 'global'), null)
  t.equal(runs(), 0)
})
