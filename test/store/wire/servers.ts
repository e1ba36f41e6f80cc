import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { until } from '../../helper.ts'
import { redisServer } from '../../servers/binaries.ts'
import { freePort } from '../../servers/port.ts'
import { protect } from '../../servers/reaper.ts'
import { ownRedis } from '../own-redis.ts'
import type { ClientOptions } from './clients.ts'

/** The options of a client, and the address to give it, if they do not say it. */
type ClientOf = [ClientOptions, url?: string]

function directoryOf (t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'test-wire-'))
  protect(directory)
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

export function socketPath (t: Test): string {
  return join(directoryOf(t), 'redis.sock')
}

/** A Redis that speaks TLS on a second port, with a certificate of its own. */
export async function ownTlsRedis (t: Test): Promise<ClientOf> {
  const directory = directoryOf(t)
  const [key, certificate] = [join(directory, 'key.pem'), join(directory, 'certificate.pem')]
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1',
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', certificate
  ], { stdio: 'ignore' })
  const port = await freePort()
  await ownRedis(t, {
    args: [
      '--tls-port', String(port), '--tls-key-file', key, '--tls-cert-file', certificate,
      '--tls-ca-cert-file', certificate, '--tls-auth-clients', 'no'
    ]
  })
  const tls = { ca: readFileSync(certificate), servername: 'localhost' }
  return [{ tls }, `redis://127.0.0.1:${port}`]
}

/** A Redis that clients find by asking Sentinel. */
export async function ownSentinel (t: Test): Promise<ClientOf> {
  const { port: master } = await ownRedis(t)
  const port = await freePort()
  const configuration = join(directoryOf(t), 'sentinel.conf')
  writeFileSync(configuration, `port ${port}
bind 127.0.0.1
sentinel monitor orders 127.0.0.1 ${master} 1
`)
  const sentinel = spawn(redisServer(), [configuration, '--sentinel'], { stdio: 'ignore' })
  if (sentinel.pid !== undefined) protect(sentinel.pid)
  t.teardown(() => sentinel.kill('SIGKILL'))
  const admin = new Redis(port, { retryStrategy: () => 20, maxRetriesPerRequest: null })
  admin.on('error', () => {})
  t.teardown(() => admin.disconnect())
  await until(async () => (await admin.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'orders')) !== null, 'Sentinel')
  return [{ sentinels: [{ host: '127.0.0.1', port }], name: 'orders' }]
}
