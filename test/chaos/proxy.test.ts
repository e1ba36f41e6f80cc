import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { until } from '../helper.ts'
import { Proxy } from './proxy.ts'

/** A server that echoes everything, behind a proxy. */
async function start (t: Test): Promise<{ proxy: Proxy, open: () => Promise<Line>, accepted: Socket[] }> {
  const accepted: Socket[] = []
  const server = createServer((socket) => {
    accepted.push(socket)
    socket.on('error', () => {}).pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy = await Proxy.listen(() => (server.address() as AddressInfo).port)
  t.teardown(async () => {
    await proxy.close()
    server.close()
  })
  return { proxy, open: async () => lineTo(proxy.port), accepted }
}

interface Line {
  socket: Socket
  received: () => string
  ended: () => boolean
}

async function lineTo (port: number): Promise<Line> {
  const socket = connect(port, '127.0.0.1')
  let received = ''
  let ended = false
  socket.setEncoding('utf8').on('data', (text: string) => { received += text })
  socket.on('error', () => {}).on('close', () => { ended = true })
  await new Promise<void>((resolve) => { socket.once('connect', resolve).once('close', () => resolve()) })
  return { socket, received: () => received, ended: () => ended }
}

t.test('what is sent comes through, both ways', async (t) => {
  const { open } = await start(t)
  const line = await open()
  line.socket.write('hello')
  await until(() => line.received() === 'hello')
  const much = 'x'.repeat(3_000_000)
  line.socket.write(much)
  await until(() => line.received() === `hello${much}`)
  line.socket.destroy()
})

t.test('a link that is stalled passes nothing on until it is healed, on new connections neither', async (t) => {
  const { proxy, open } = await start(t)
  const [line, control] = [await open(), await start(t)]
  line.socket.write('a')
  await until(() => line.received() === 'a')
  proxy.stall()
  line.socket.write('b')
  const late = await open()
  late.socket.write('c')
  // Another link answers meanwhile, so that this one had its chance.
  const other = await control.open()
  for (let i = 1; i <= 20; i++) {
    other.socket.write('.')
    await until(() => other.received().length === i)
  }
  t.equal(line.received(), 'a')
  t.equal(late.received(), '')
  proxy.heal()
  await until(() => line.received() === 'ab' && late.received() === 'c')
  t.notOk(line.ended())
  for (const { socket } of [line, late, other]) socket.destroy()
})

t.test('a link that is cut breaks its connections and refuses new ones until it is healed', async (t) => {
  const { proxy, open, accepted } = await start(t)
  const line = await open()
  line.socket.write('a')
  await until(() => line.received() === 'a')
  proxy.cut()
  await until(() => line.ended())
  await until(() => accepted[0]?.destroyed, 'the other side noticing')
  const refused = await open()
  await until(() => refused.ended())
  t.equal(accepted.length, 1, 'the server heard nothing of it')
  proxy.heal()
  const healed = await open()
  healed.socket.write('b')
  await until(() => healed.received() === 'b')
  healed.socket.destroy()
})

t.test('when one side ends, the other gets what was sent before, and then the end', async (t) => {
  const { open, accepted } = await start(t)
  const line = await open()
  await until(() => accepted.length === 1)
  accepted[0]?.end('goodbye')
  await until(() => line.ended())
  t.equal(line.received(), 'goodbye')
})
