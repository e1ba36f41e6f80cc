import fc from 'fast-check'
import t from 'tap'
import { describe, headersOf } from './helper.ts'

t.test('every key that fits the documented format is taken, and what is refused does not fit it', async (t) => {
  const { app, operation } = await describe(t, (app) => {
    app.post('/x', { config: { idempotency: true } }, async () => 'done')
  })
  const { pattern, minLength, maxLength } = headersOf(operation('/x'))['idempotency-key']?.schema as {
    pattern: string,
    minLength: number,
    maxLength: number
  }
  const format = new RegExp(pattern, 'u')
  const fits = (value: string): boolean => format.test(value) && value.length >= minLength && value.length <= maxLength
  const isTaken = async (value: string): Promise<boolean> =>
    (await app.inject({ method: 'POST', url: '/x', headers: { 'idempotency-key': value } })).statusCode === 200

  for (const value of [
    '8e03978e-40d5-43e8-bc93-6894a57f9324',
    'a'.repeat(255),
    `"${'a'.repeat(253)}"`,
    '"a"',
    '"\\"\\\\"',
    'a\\b',
    '~!,;='
  ]) {
    t.ok(fits(value), `${value} fits`)
    t.ok(await isTaken(value), `${value} is taken`)
  }
  for (const value of ['', '"', '""', 'a"', '"a', '"a\\"', '"\\a"', 'a b', '"a b"', 'a'.repeat(256), 'ä', '\u007f']) {
    t.notOk(fits(value), `${value} does not fit`)
    t.notOk(await isTaken(value), `${value} is refused`)
  }
  await fc.assert(
    fc.asyncProperty(fc.stringMatching(format), async value => !fits(value) || isTaken(value)),
    { numRuns: 300 }
  )
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: fc.constantFrom('a', '"', '\\', ' ', ';', '~'), maxLength: 6 }),
      async (value) => {
        const header = value.trim()
        const taken = await isTaken(header)
        // Parameters after the string are ignored, and not documented.
        return taken === fits(header) || (taken && header.includes(';'))
      }
    ),
    { numRuns: 300 }
  )
})
