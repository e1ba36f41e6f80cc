import t from 'tap'
import { localUrl } from '../../demo-app/banner.ts'
import { readConfig } from '../../demo-app/config.ts'
import { ConfigError } from '../../demo-app/settings.ts'
import { readSettings } from '../../sandbox-provider/settings.ts'

t.test('without any variable the app listens on port 3000 of this machine and has the default settings', async (t) => {
  t.strictSame(readConfig({}), {
    host: '127.0.0.1',
    port: 3000,
    logLevel: 'info',
    redisUrl: null,
    databaseUrl: null,
    demoCustomers: true,
    idempotency: {},
    providerUrl: 'http://127.0.0.1:4000',
    providerApiKey: 'sandbox-merchant-key',
    providerTimeout: 10_000,
    publicUrl: null,
    sweepAfter: 60_000
  })
})

t.test('without any variable the app calls the sandbox provider where npm run sandbox-provider listens', async (t) => {
  const { host, port, apiKey } = readSettings({})
  t.match(readConfig({}), { providerUrl: `http://${host}:${port}`, providerApiKey: apiKey })
})

t.test('an empty variable is one that is not set', async (t) => {
  t.strictSame(readConfig({ PORT: '', REDIS_URL: ' ', IDEMPOTENCY_LEASE_MS: '' }), readConfig({}))
})

t.test('every variable has its effect', async (t) => {
  t.strictSame(readConfig({
    HOST: '0.0.0.0',
    PORT: '8080',
    LOG_LEVEL: 'silent',
    REDIS_URL: 'rediss://cache:6380/1',
    DATABASE_URL: 'postgresql://app@db/payments',
    DEMO_CUSTOMERS: 'false',
    IDEMPOTENCY_LEASE_MS: '500',
    IDEMPOTENCY_ON_CONFLICT: 'wait',
    PROVIDER_URL: 'https://payments.example',
    PROVIDER_API_KEY: 'secret',
    PROVIDER_TIMEOUT_MS: '3000',
    PUBLIC_URL: 'https://shop.example',
    SWEEP_AFTER_MS: '5000'
  }), {
    host: '0.0.0.0',
    port: 8080,
    logLevel: 'silent',
    redisUrl: 'rediss://cache:6380/1',
    databaseUrl: 'postgresql://app@db/payments',
    demoCustomers: false,
    idempotency: { lease: 500, onConflict: 'wait' },
    providerUrl: 'https://payments.example',
    providerApiKey: 'secret',
    providerTimeout: 3_000,
    publicUrl: 'https://shop.example',
    sweepAfter: 5_000
  })
})

t.test('a duplicate can be treated as the plugin does by itself, rejected, or made to wait', async (t) => {
  for (const onConflict of ['auto', 'reject', 'wait']) {
    t.match(readConfig({ IDEMPOTENCY_ON_CONFLICT: onConflict }), { idempotency: { onConflict } })
  }
})

const wrong: Array<[name: string, value: string]> = [
  ['PORT', '65536'], ['PORT', 'http'], ['PORT', '-1'], ['PORT', '1e3'],
  ['LOG_LEVEL', 'loud'],
  ['REDIS_URL', 'localhost:6379'], ['REDIS_URL', 'http://localhost'],
  ['DATABASE_URL', 'mysql://localhost/payments'], ['DATABASE_URL', 'payments'],
  ['DEMO_CUSTOMERS', 'no'],
  ['IDEMPOTENCY_LEASE_MS', '0'], ['IDEMPOTENCY_LEASE_MS', '1.5'],
  ['IDEMPOTENCY_ON_CONFLICT', 'queue'],
  ['PROVIDER_URL', 'payments.example'], ['PROVIDER_TIMEOUT_MS', '0'],
  ['PUBLIC_URL', 'ftp://shop.example'], ['SWEEP_AFTER_MS', 'soon']
]
for (const [name, value] of wrong) {
  t.test(`${name}=${value} is refused by name`, async (t) => {
    t.throws(() => readConfig({ [name]: value }), { name: 'ConfigError', message: new RegExp(`^${name} must be `) })
  })
}

t.test('all wrong variables are named at once, and no value is repeated, because it may be a password', async (t) => {
  try {
    readConfig({ PORT: 'x', DATABASE_URL: 'postgre://app:hunter2@db/payments' })
    t.fail('accepted')
  } catch (error) {
    t.ok(error instanceof ConfigError)
    const { message } = error as ConfigError
    t.match(message, /^PORT must be [^\n]+\nDATABASE_URL must be [^\n]+$/)
    t.notMatch(message, 'hunter2')
  }
})

t.test('the address that is printed can be opened, whatever the app listens on', async (t) => {
  t.equal(localUrl('127.0.0.1', '3000'), 'http://127.0.0.1:3000')
  t.equal(localUrl('0.0.0.0', '3000'), 'http://localhost:3000')
  t.equal(localUrl('::', '80'), 'http://localhost:80')
  t.equal(localUrl('::1', '80'), 'http://[::1]:80')
})
