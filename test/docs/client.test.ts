import { testPage } from './run.ts'

await testPage('docs/client.md', {
  async 'With fetch' (t, { pay }) {
    t.match(await pay('/orders/17'), { receipt: { receipt: Number }, key: /^[0-9a-f-]{36}$/, tries: 1, replayed: false })
  },

  async 'Stopping early' (t, { refund, leaving }) {
    t.match(await refund('/orders/17'), { status: 200 })
    leaving.abort(new Error('the user has left'))
    await t.rejects(refund('/orders/17'), { message: 'the user has left' })
  },

  async 'With undici' (t, { refund }) {
    t.match(await refund('/orders/17'), { statusCode: 200, refund: { refund: Number }, key: /^[0-9a-f-]{36}$/, tries: 1, replayed: false })
  }
})
