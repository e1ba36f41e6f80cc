import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import idempotency from '../../plugin/index.ts'
import type { Idempotency, IdempotencyOptions } from '../../plugin/index.ts'
import { clientOf, connectRedis, newPrefix } from '../helper.ts'
import type { Answer, Client } from '../helper.ts'

type Step = 'other' | 'plugin'

/**
 * Where another plugin may stand with respect to this one: what is registered in the root, and in a child context of
 * it.
 */
interface Position {
  name: string
  root: Step[]
  child: Step[]
}

const POSITIONS: Position[] = [
  { name: 'registered before, in the root', root: ['other', 'plugin'], child: [] },
  { name: 'registered after, in the root', root: ['plugin', 'other'], child: [] },
  { name: 'registered before, in a child context', root: [], child: ['other', 'plugin'] },
  { name: 'registered after, in a child context', root: [], child: ['plugin', 'other'] },
  { name: 'registered in the root, the plugin in a child context', root: ['other'], child: ['plugin'] },
  { name: 'registered in a child context, the plugin in the root', root: ['plugin'], child: ['other'] }
]

export interface Arrangement {
  /** Registers the other plugin. */
  other: (app: FastifyInstance) => PromiseLike<unknown>
  /** Declares routes where both plugins apply. `run` counts a run of a handler, and returns its number. */
  routes: (app: FastifyInstance, run: () => number) => void
  options?: Partial<IdempotencyOptions>
  /** Use only the positions in which this plugin is registered first. */
  first?: Step
}

export interface Arranged {
  /** The root app. */
  app: FastifyInstance
  client: Client
  /** `app.idempotency` of the context in which the plugin was registered. */
  idempotency: Idempotency
  /** How often a handler ran. */
  runs: () => number
  /** Which of the two plugins was registered first. */
  registeredFirst: Step
}

/** Runs a test over real sockets once for each position in which the other plugin can be registered. */
export function inEachPosition (
  name: string,
  arrangement: Arrangement,
  test: (t: Test, arranged: Arranged) => Promise<void>
): void {
  for (const position of POSITIONS) {
    if (arrangement.first !== undefined && arrangement.first !== firstOf(position)) continue
    t.test(`${name} (${position.name})`, async t => test(t, await arrange(t, position, arrangement)))
  }
}

function firstOf ({ root, child }: Position): Step {
  return [...root, ...child][0] as Step
}

async function arrange (t: Test, position: Position, { other, routes, options }: Arrangement): Promise<Arranged> {
  const { root, child } = position
  const app: FastifyInstance = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  const keyPrefix = newPrefix()
  const redis = connectRedis(t, { prefix: keyPrefix })
  let operator: Idempotency | undefined
  const take = async (context: FastifyInstance, steps: Step[]): Promise<void> => {
    for (const step of steps) {
      if (step === 'other') await other(context)
      else {
        await context.register(idempotency, { redis, keyPrefix, scope: 'global', storeTimeout: 60_000, ...options })
        operator = context.idempotency
      }
    }
  }

  let runs = 0
  const declare = (context: FastifyInstance): void => routes(context, () => ++runs)
  await take(app, root)
  if (child.length === 0) declare(app)
  else {
    await app.register(async (context) => {
      await take(context, child)
      declare(context)
    })
  }
  const client = clientOf(await app.listen({ port: 0, host: '127.0.0.1' }))
  return { app, client, idempotency: operator as Idempotency, runs: () => runs, registeredFirst: firstOf(position) }
}

export interface Repeated {
  body?: unknown
  headers?: Record<string, string>
  /** Names of the headers that a replay creates again, beyond those that it always does. */
  anew?: string[]
}

/** Sends a request twice, and checks that the second answer is a replay of the first: status, headers, body. */
export async function replayed (
  t: Test,
  client: Client,
  path: string,
  key: string,
  { body, headers = {}, anew = [] }: Repeated = {}
): Promise<[Answer, Answer]> {
  const first = await client.post(path, key, body, headers)
  const second = await client.post(path, key, body, headers)
  t.equal(first.replayed, false, `the first request of ${key} is not a replay`)
  t.equal(second.replayed, true, `the second request of ${key} is a replay`)
  t.same(visible(second, anew), visible(first, anew), `the replay of ${key} is the first answer`)
  return [first, second]
}

/** Headers that belong to one message or one connection, and the sign of a replay. */
const ALWAYS_ANEW = ['date', 'connection', 'keep-alive', 'idempotent-replayed']

function visible ({ status, headers, body }: Answer, anew: string[]): object {
  const kept = [...headers].filter(([name]) => !ALWAYS_ANEW.includes(name) && !anew.includes(name))
  return { status, headers: kept, body: body.toString('base64') }
}

/** An error with a status, as plugins and handlers throw them. */
export function refusal (statusCode: number, message: string): Error {
  return Object.assign(new Error(message), { statusCode })
}
