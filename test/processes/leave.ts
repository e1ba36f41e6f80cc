import { connect } from 'node:net'
import { until } from '../helper.ts'
import type { Service, World } from './start.ts'

type Reachable = Pick<Service, 'url' | 'stdout'>

/** A client that sends its POST and leaves when the handler runs. */
export async function payAndLeave ({ provider }: World, service: Reachable, key: string): Promise<void> {
  const { hostname, port } = new URL(service.url)
  const socket = connect(Number(port), hostname)
  socket.write([
    'POST /pay HTTP/1.1', 'host: x', `idempotency-key: ${key}`,
    'content-type: application/json', 'content-length: 2', '', '{}'
  ].join('\r\n'))
  await provider.asked(key)
  socket.destroy()
  await until(() => service.stdout().includes(`"left":"${key}"`), 'the service seeing its client leave')
}
