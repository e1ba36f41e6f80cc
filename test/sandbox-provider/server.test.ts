import t from 'tap'
import { startProcess } from '../servers/process.ts'

const SCRIPT = 'sandbox-provider/server.ts'

t.test('npm run sandbox-provider serves in a process of its own, and stops when told to', async (t) => {
  const server = startProcess(t, SCRIPT, { PROVIDER_API_KEY: 'mine' })
  const url = await server.listening()
  const answer = await fetch(`${url}/sandbox/ledger`, { headers: { authorization: 'Bearer mine' } })
  t.same(await answer.json(), { charges: [], refunds: [], notifications: [], faultsWaiting: 0 })
  server.kill('SIGTERM')
  t.equal(await server.ended, 0)
})

t.test('settings that cannot be used are named, all at once, and not repeated', async (t) => {
  const env = {
    PORT: '1e3',
    LOG_LEVEL: 'loud',
    SANDBOX_SEED: '-1',
    NOTIFY_SCALE: '2',
    NOTIFY_DUPLICATES: 'often',
    NOTIFY_SHUFFLE_MS: '0.5'
  }
  const server = startProcess(t, SCRIPT, env)
  t.equal(await server.ended, 1)
  for (const name of Object.keys(env)) t.match(server.stderr(), new RegExp(`^${name} must be`, 'm'))
  t.notMatch(server.stderr(), /often|loud/)
})

t.test('a port that is taken ends the process with one line', async (t) => {
  const { port } = new URL(await startProcess(t, SCRIPT).listening())
  const second = startProcess(t, SCRIPT, { PORT: port })
  t.equal(await second.ended, 1)
  t.equal(second.stderr(), `Cannot start. listen EADDRINUSE: address already in use 127.0.0.1:${port}\n`)
})

t.test('preloaded into a process, it listens and sets PROVIDER_URL unless that names a provider', async (t) => {
  const preloads = ['sandbox-provider/preload.ts']
  const started = startProcess(t, 'test/sandbox-provider/print-url.ts', { PROVIDER_API_KEY: 'mine' }, preloads)
  t.equal(await started.ended, 0)
  t.match(started.stdout(), /^http:\/\/127\.0\.0\.1:\d+ 200 401\n$/)
  const given = { PROVIDER_URL: 'https://payments.example' }
  const left = startProcess(t, 'test/sandbox-provider/print-url.ts', given, preloads)
  t.equal(await left.ended, 0)
  t.equal(left.stdout(), 'https://payments.example\n')
})
