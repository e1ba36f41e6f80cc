import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer as createTlsServer } from 'node:https'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { program } from '../servers/binaries.ts'

export interface TlsServer {
  url: string
  /** Connections that began, whatever became of them. */
  connections: number
  /** Requests that arrived. */
  requests: number
}

/** A server whose certificate nobody trusts. It cuts its first `cut` connections as they come. */
export async function startUntrusted (t: Test, cut = 0): Promise<TlsServer> {
  const tls = createTlsServer(selfSigned(), (_request, response) => {
    seen.requests++
    response.end('done')
  })
  const server = createServer((socket) => {
    socket.on('error', () => {})
    if (seen.connections++ < cut) socket.destroy()
    else tls.emit('connection', socket)
  }).listen(0, '127.0.0.1')
  tls.on('tlsClientError', () => {})
  await once(server, 'listening')
  t.teardown(() => {
    tls.closeAllConnections()
    server.close()
  })
  const seen: TlsServer = { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/x`, connections: 0, requests: 0 }
  return seen
}

/** A certificate for 127.0.0.1 and its key. */
function selfSigned (): { cert: string, key: string } {
  const directory = mkdtempSync(join(tmpdir(), 'fastify-idempotency-tls-'))
  try {
    execFileSync(program(['openssl'], 'openssl'), ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
      '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', 'key.pem', '-out', 'cert.pem'], { cwd: directory, stdio: 'pipe' })
    const read = (file: string): string => readFileSync(join(directory, file), 'utf8')
    return { cert: read('cert.pem'), key: read('key.pem') }
  } finally {
    rmSync(directory, { recursive: true })
  }
}
