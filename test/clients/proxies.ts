import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { readPage } from '../docs/markdown.ts'
import { freePort } from '../servers/port.ts'
import { listens, ownDirectory, startDaemon } from './daemon.ts'
import type { Daemon } from './daemon.ts'
import { pathOf } from './programs.ts'

export interface ReverseProxy {
  url: string
  daemon: Daemon
}

/** The changes that a test makes to the configuration in docs/deploying.md. */
type Edit = (config: string) => string

/** The addresses that the page uses for the processes of the service. */
const DOCUMENTED = ['10.0.0.1:3000', '10.0.0.2:3000']

type Services = Array<{ url: string }>

const unchanged: Edit = config => config

/** HAProxy as docs/deploying.md describes it, in front of two processes. */
export async function startHaproxy (t: Test, services: Services, edit = unchanged): Promise<ReverseProxy> {
  const file = join(ownDirectory(t, 'haproxy'), 'haproxy.cfg')
  const config = await documented('haproxy', services)
  return await startOnFreePort((port) => {
    writeFileSync(file, edit(config).replace('bind :80', `bind 127.0.0.1:${port}`))
    return startDaemon(t, pathOf('haproxy'), ['-db', '-f', file])
  })
}

export interface Nginx extends ReverseProxy {
  /** Changes its configuration and makes it reload that. */
  reload (edit: Edit): void
}

/** The directories that nginx needs. */
const TEMPORARY = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

/** nginx as docs/deploying.md describes it, in front of two processes. */
export async function startNginx (t: Test, services: Services, edit = unchanged): Promise<Nginx> {
  const directory = ownDirectory(t, 'nginx')
  const file = join(directory, 'nginx.conf')
  const config = await documented('nginx', services)
  const write = (port: string, edit: Edit): void => writeFileSync(file, `
${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off;
pid ${directory}/pid;
error_log stderr;
events {}
http {
access_log off;
${TEMPORARY.map(what => `${what}_temp_path ${directory}/${what};`).join('\n')}
${edit(config).replace('listen 80', `listen 127.0.0.1:${port}`)}
}
`)
  const started = await startOnFreePort((port) => {
    write(String(port), edit)
    return startDaemon(t, pathOf('nginx'), ['-p', directory, '-c', file, '-e', 'stderr'])
  })
  return {
    ...started,
    reload (edit) {
      write(new URL(started.url).port, edit)
      started.daemon.kill('SIGHUP')
    }
  }
}

/** lighttpd with only its proxy, in front of one process. */
export async function startLighttpd (t: Test, { url }: { url: string }): Promise<ReverseProxy> {
  const directory = ownDirectory(t, 'lighttpd')
  const file = join(directory, 'lighttpd.conf')
  const { hostname, port: servicePort } = new URL(url)
  return await startOnFreePort((port) => {
    writeFileSync(file, `
server.document-root = "${directory}"
server.bind = "127.0.0.1"
server.port = ${port}
server.modules = ("mod_proxy")
proxy.server = ("" => (("host" => "${hostname}", "port" => ${servicePort})))
`)
    return startDaemon(t, pathOf('lighttpd'), ['-D', '-f', file])
  })
}

/** The configuration of the page in this language, with the addresses of these processes. */
async function documented (language: string, services: Services): Promise<string> {
  const { blocks } = await readPage('docs/deploying.md')
  const code = blocks.find(block => block.language === language)?.code ?? ''
  return DOCUMENTED.reduce((config, address, index) => {
    if (!config.includes(address)) throw new Error(`docs/deploying.md has no ${address} in its ${language}`)
    return config.replace(address, new URL(services[index]?.url ?? '').host)
  }, code)
}

/** Another process may take a port that was free: then this tries another port. */
async function startOnFreePort (start: (port: number) => Daemon): Promise<ReverseProxy> {
  for (let tries = 1; ; tries++) {
    const port = await freePort()
    const daemon = start(port)
    const url = `http://127.0.0.1:${port}`
    if (await listens(daemon, port)) return { url, daemon }
    if (tries === 3) throw new Error(`it did not start: ${daemon.log()}`)
  }
}
