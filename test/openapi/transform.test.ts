import swagger from '@fastify/swagger'
import type { FastifyDynamicSwaggerOptions, SwaggerTransform } from '@fastify/swagger'
import t from 'tap'
import { idempotencyTransform } from '../../plugin/openapi/transform.ts'
import { build, MemoryStore } from '../helper.ts'
import { codesOf, describe, headersOf } from './helper.ts'

const handler = async () => 'done'

t.test('the app’s own transform runs first, and what it makes of a route is kept', async (t) => {
  const { document, operation } = await describe(t, (app) => {
    app.post('/x', { config: { idempotency: true }, schema: { summary: 'x' } }, handler)
    app.post('/unprotected', { schema: { summary: 'y' } }, handler)
  }, {
    swagger: {
      transform: idempotencyTransform(({ schema, url }) => ({
        schema: { ...schema, summary: `Own ${schema.summary}`, response: { 201: { type: 'string' } } },
        url: `/v1${url}`
      }))
    }
  })
  t.strictSame(Object.keys(document.paths), ['/v1/x', '/v1/unprotected'])
  t.strictSame(Object.keys(operation('/v1/x').responses), ['201', '400', '409', '415', '422', '503'])
  t.match(operation('/v1/x'), { summary: 'Own x' })
  t.ok(headersOf(operation('/v1/x'))['idempotency-key'])
  t.strictSame(Object.keys(operation('/v1/unprotected').responses), ['201'])
})

t.test('a route’s own transform can be wrapped like the app’s', async (t) => {
  const { operation } = await describe(t, (app) => {
    app.post('/x', {
      config: {
        idempotency: true,
        swaggerTransform: idempotencyTransform(({ schema, url }) => ({ schema: { ...schema, summary: 'Own' }, url }))
      }
    }, handler)
  })
  t.match(operation('/x'), { summary: 'Own' })
  t.strictSame(codesOf(operation('/x').responses[422]), ['FST_IDEMPOTENCY_KEY_REUSED'])
})

t.test('a transform that is asynchronous, which no document waits for, or returns nothing, ' +
  'is refused with the route that it was called for', async (t) => {
  for (const own of [
    async ({ url }: { url: string }) => ({ schema: { hide: true }, url }),
    () => undefined,
    () => null
  ]) {
    await t.rejects(describe(t, (app) => {
      app.post('/x', { config: { idempotency: true } }, handler)
    }, { swagger: { transform: idempotencyTransform(own as unknown as SwaggerTransform) } }), {
      name: 'TypeError',
      message: /own transform for POST \/x must return \{ schema, url \}, got (a promise|undefined|null)/
    })
  }
})

t.test('a route that is hidden from the document stays hidden', async (t) => {
  const { document } = await describe(t, (app) => {
    app.post('/x', { config: { idempotency: true }, schema: { hide: true } }, handler)
    app.post('/y', { config: { idempotency: true }, schema: { tags: ['internal'] } }, handler)
  }, { swagger: { hiddenTag: 'internal' } })
  t.strictSame(document.paths, {})
})

t.test('routes in child contexts are described too', async (t) => {
  const { operation } = await describe(t, async (app) => {
    await app.register(
      async (child) => {
        child.post('/x', { config: { idempotency: true } }, handler)
      },
      { prefix: '/child' }
    )
  })
  t.strictSame(codesOf(operation('/child/x').responses[422]), ['FST_IDEMPOTENCY_KEY_REUSED'])
})

t.test('a Swagger 2.0 document is left as it is', async (t) => {
  const documentOf = async (options: FastifyDynamicSwaggerOptions): Promise<unknown> => {
    const { app } = await build(t, { store: new MemoryStore() }, async (app) => {
      await app.register(swagger, { swagger: { info: { title: 'Payments', version: '1.0.0' } }, ...options })
    })
    app.post(
      '/x',
      { config: { idempotency: true }, schema: { summary: 'x', response: { 409: { type: 'string' } } } },
      handler
    )
    await app.ready()
    return app.swagger()
  }
  const plain = await documentOf({})
  t.match(plain, { swagger: '2.0', paths: { '/x': { post: { summary: 'x' } } } })
  t.strictSame(await documentOf({ transform: idempotencyTransform() }), plain)
})

t.test('a protected route whose config another plugin replaces is described as one', async (t) => {
  const { operation } = await describe(t, (app) => {
    app.addHook('onRoute', (route) => { if (route.url === '/x') route.config = { idempotency: true } })
    app.post('/x', { config: { idempotency: true } }, handler)
  })
  t.ok(headersOf(operation('/x'))['idempotency-key'])
})
