import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { PEERS } from './apps/index.ts'
import type { AppName, Servers } from './apps/index.ts'
import { FAIL_HEADER, KEY_HEADER } from './apps/shared.ts'
import type { Work } from './apps/shared.ts'
import { startServer } from './processes.ts'
import { table } from './report.ts'

/** The result of a check: `ok`, or what happened instead. */
export type Finding = string

interface Answer {
  status: number
  text: string
  type: string | null
}

type Send = (headers: Record<string, string>, body?: object) => Promise<Answer>

interface Bench {
  send: Send
  /** Kills the process and starts another one. */
  restart (): Promise<void>
}

const ONE = { amount: 1999, note: 'one' }
const ANOTHER = { amount: 5, note: 'another' }

function keyed (key: string): Record<string, string> {
  return { [KEY_HEADER]: key }
}

const CHECKS: Record<string, (bench: Bench) => Promise<Finding>> = {
  async 'a replay is the first answer' ({ send }) {
    const key = keyed(randomUUID())
    const [first, second] = [await send(key), await send(key)]
    if (second.text !== first.text) return second.status === first.status ? 'another body' : `a ${second.status}`
    if (second.status !== first.status) return `status ${second.status} instead of ${first.status}`
    return second.type === first.type ? 'ok' : `type ${String(second.type)} instead of ${String(first.type)}`
  },
  async 'twenty at once run once' ({ send }) {
    const key = keyed(randomUUID())
    const answers = await Promise.all(Array.from({ length: 20 }, () => send(key)))
    const ran = new Set(answers.filter(({ status }) => status === 200).map(({ text }) => text)).size
    return ran === 1 ? 'ok' : `ran ${ran} times`
  },
  async 'another body is refused' ({ send }) {
    const key = keyed(randomUUID())
    await send(key, ONE)
    const { status } = await send(key, ANOTHER)
    return status >= 400 && status < 500 ? 'ok' : `answered ${status}`
  },
  async 'and the good record stays' ({ send }) {
    const key = keyed(randomUUID())
    const first = await send(key, ONE)
    await send(key, ANOTHER)
    const again = await send(key, ONE)
    return again.status === first.status && again.text === first.text ? 'ok' : `the right retry gets ${again.status}`
  },
  async 'a failure can be tried again' ({ send }) {
    const key = keyed(randomUUID())
    await send({ ...key, [FAIL_HEADER]: '1' })
    const { status } = await send(key)
    return status === 200 ? 'ok' : `answered ${status} for good`
  },
  async 'no answer for another customer' ({ send }) {
    const key = keyed(randomUUID())
    const first = await send({ ...key, authorization: 'Bearer alice' })
    const other = await send({ ...key, authorization: 'Bearer bob' })
    return other.text === first.text ? 'gets the first one\'s' : 'ok'
  },
  async 'a crash frees the key in 3 s' ({ send, restart }) {
    const key = keyed(randomUUID())
    send(key).catch(() => {})
    await new Promise((resolve) => { setTimeout(resolve, 100) })
    await restart()
    const end = performance.now() + 3_000
    let status
    do status = (await send(key)).status
    while (status !== 200 && performance.now() < end)
    return status === 200 ? 'ok' : `still ${status}`
  }
}

const WORK: Work = { size: 200, payload: 'json', takes: 250 }
const CHECKED: Array<[name: string, app: AppName]> = [
  ['fastify-idempotency', 'plugin for teams'],
  ['by hand', 'by hand'],
  ...PEERS.map((peer): [string, AppName] => [peer, peer])
]

export type Answers = Record<string, Record<string, Finding>>

/** Sends the same requests to each library and compares what they answer. */
export async function checkAnswers (servers: Servers, progress: (text: string) => void): Promise<Answers> {
  const answers: Answers = {}
  const redis = new Redis(servers.redisUrl)
  for (const [name, app] of CHECKED) {
    const findings: Record<string, Finding> = {}
    for (const [check, run] of Object.entries(CHECKS)) {
      let server = await startServer({ app, work: WORK, servers })
      const send: Send = async (headers, body = ONE) => {
        const response = await fetch(`${server.url}/pay`, {
          method: 'POST',
          body: JSON.stringify(body),
          headers: { 'content-type': 'application/json', ...headers }
        })
        return { status: response.status, text: await response.text(), type: response.headers.get('content-type') }
      }
      const restart = async (): Promise<void> => {
        await server.kill()
        server = await startServer({ app, work: WORK, servers })
      }
      findings[check] = await run({ send, restart }).catch((error: Error) => error.message)
      await server.stop()
      await redis.flushdb()
      progress(`${name}: ${check}: ${findings[check]}`)
    }
    answers[name] = findings
  }
  redis.disconnect()
  return answers
}

export function answersTable (answers: Answers): string {
  const names = Object.keys(answers)
  return table(
    ['what is right', ...names],
    Object.keys(CHECKS).map(check => [check, ...names.map(name => answers[name]?.[check] ?? '')])
  )
}
