import { createVerify } from 'node:crypto'
import t from 'tap'
import { isSigned } from '../../demo-app/signature.ts'
import { generateKeys, sign } from '../../sandbox-provider/signature.ts'

const keys = generateKeys()
const fields = { out_trade_no: 'n-1', amount: '1999', status: 'charged', sign_type: 'RSA2' }

t.test('what was signed is verified, whatever the order of its fields', async (t) => {
  const signature = sign(fields, keys.privateKey)
  t.ok(isSigned({ ...fields, sign: signature }, keys.publicKey))
  t.ok(isSigned({
    sign: signature,
    sign_type: 'RSA2',
    status: 'charged',
    amount: '1999',
    out_trade_no: 'n-1'
  }, keys.publicKey))
})

t.test('it is RSA-SHA256 over the sorted pairs, without the signature’s own and without empty ones', async (t) => {
  const signature = sign({ ...fields, empty: '' }, keys.privateKey)
  const text = 'amount=1999&out_trade_no=n-1&status=charged'
  t.ok(createVerify('RSA-SHA256').update(text).verify(keys.publicKey, signature, 'base64'))
})

const TAMPERED: Array<[what: string, fields: Record<string, string>]> = [
  ['a changed field', { amount: '1' }],
  ['a field more', { extra: '1' }],
  ['a field less', { status: '' }],
  ['another type of signature', { sign_type: 'MD5' }],
  ['a signature that is none', { sign: 'AAAA' }],
  ['an empty signature', { sign: '' }]
]

for (const [what, change] of TAMPERED) {
  t.test(`${what} is noticed`, async (t) => {
    t.notOk(isSigned({ ...fields, sign: sign(fields, keys.privateKey), ...change }, keys.publicKey))
  })
}

t.test('a signature with another key is noticed', async (t) => {
  t.notOk(isSigned({ ...fields, sign: sign(fields, generateKeys().privateKey) }, keys.publicKey))
})
