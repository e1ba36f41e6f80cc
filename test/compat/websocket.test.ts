import { once } from 'node:events'
import websocket from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import { MessageEvent, WebSocket } from 'undici'
import type { Client } from '../helper.ts'
import { inEachPosition, replayed } from './helper.ts'

/** The members of a socket of the package ws that are used here. The types of ws are not installed. */
interface Socket {
  on (event: 'message', listener: (message: Buffer) => void): void
  send (message: string): void
}

const arrangement = {
  other: (app: FastifyInstance) => app.register(websocket),
  options: { global: true },
  routes (app: FastifyInstance, run: () => number) {
    app.get('/echo', { websocket: true }, (socket: Socket, request) => {
      socket.on('message', message =>
        socket.send(`${message.toString()}, ${request.idempotency === null ? 'not protected' : 'protected'}`)
      )
    })
    app.route({
      method: 'GET',
      url: '/both',
      handler: async () => 'plain',
      wsHandler: (socket: Socket) => { socket.on('message', () => socket.send('socket')) }
    })
    app.post('/pay', async () => `run ${run()}`)
  }
}

async function ask ({ url }: Client, path: string, question: string): Promise<unknown> {
  const socket = new WebSocket(url.replace('http', 'ws') + path, { headers: { 'idempotency-key': 'k' } })
  await once(socket, 'open')
  socket.send(question)
  const [answer] = await once(socket, 'message') as unknown[]
  socket.close()
  await once(socket, 'close')
  return answer instanceof MessageEvent ? answer.data : undefined
}

inEachPosition('a websocket route is left alone, ' +
  'with every POST protected and a key sent along', arrangement, async (t, { client, idempotency }) => {
  for (const question of ['one', 'one', 'two']) {
    t.equal(await ask(client, '/echo', question), `${question}, not protected`)
  }
  t.equal(await ask(client, '/both', ''), 'socket')
  t.equal((await client.get('/both')).text, 'plain')
  t.match(idempotency.stats(), { claimed: 0, running: 0 })
})

inEachPosition('a protected POST beside websocket routes is replayed', arrangement, async (t, { client, runs }) => {
  const [first] = await replayed(t, client, '/pay', 'k')
  t.equal(first.text, 'run 1')
  t.equal(runs(), 1)
})
