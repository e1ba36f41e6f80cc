import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort } from '../servers/port.ts'
import { answers, ownDirectory, startDaemon } from './daemon.ts'
import type { Daemon } from './daemon.ts'
import { pathOf } from './programs.ts'

export interface ReverseProxy {
  url: string
  daemon: Daemon
}

export interface ServerLine {
  /** Where a process of the service listens. */
  url: string
  /** What follows its address in the proxy's configuration. */
  settings?: string
}

/** HAProxy before these servers. `lines` are put into its section `defaults`. */
export async function startHaproxy (t: Test, servers: ServerLine[], lines: string[]): Promise<ReverseProxy> {
  const directory = ownDirectory(t, 'haproxy')
  const config = join(directory, 'haproxy.cfg')
  return await startOnFreePort((port) => {
    writeFileSync(config, [
      'defaults',
      'mode http',
      'timeout connect 10s',
      'timeout client 10m',
      'timeout server 10m',
      ...lines,
      'listen service',
      `bind 127.0.0.1:${port}`,
      ...servers.map(({ url, settings = '' }, index) => `server s${index} ${new URL(url).host} ${settings}`),
      ''
    ].join('\n'))
    return startDaemon(t, pathOf('haproxy'), ['-db', '-f', config])
  })
}

export interface Nginx extends ReverseProxy {
  /** Writes the servers anew and has it read them. */
  reload (servers: ServerLine[]): void
}

/** nginx before these servers. `lines` are put into its `location`. */
export async function startNginx (t: Test, servers: ServerLine[], lines: string[] = []): Promise<Nginx> {
  const directory = ownDirectory(t, 'nginx')
  const config = join(directory, 'nginx.conf')
  const write = (port: string | number, servers: ServerLine[]): void => writeFileSync(config, `
${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off;
pid ${directory}/pid;
error_log stderr;
events {}
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(what => `${what}_temp_path ${directory}/${what};`).join('\n  ')}
  keepalive_timeout 1h;
  upstream service {
    ${servers.map(({ url, settings = '' }) => `server ${new URL(url).host} ${settings};`).join('\n    ')}
    keepalive 16;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      ${lines.map(line => `${line};`).join('\n      ')}
    }
  }
}
`)
  const started = await startOnFreePort((port) => {
    write(port, servers)
    return startDaemon(t, pathOf('nginx'), ['-p', directory, '-c', config, '-e', 'stderr'])
  })
  return {
    ...started,
    reload (servers) {
      write(new URL(started.url).port, servers)
      started.daemon.kill('SIGHUP')
    }
  }
}

/** Somebody else may take a port that was free: then it is another one. */
async function startOnFreePort (start: (port: number) => Daemon): Promise<ReverseProxy> {
  for (let tries = 1; ; tries++) {
    const port = await freePort()
    const daemon = start(port)
    const url = `http://127.0.0.1:${port}`
    if (await answers(daemon, `${url}/ready`)) return { url, daemon }
    if (tries === 3) throw new Error(`it did not start: ${daemon.log()}`)
  }
}
