import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'
import { Server } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import pg from 'pg'
import { OFFSET } from '../../plugin/store/record.ts'
import * as scripts from '../../plugin/store/scripts.ts'
import { STRIKE_HEADER, TRY_HEADER } from './faults.ts'
import type { Boundary, Order } from './faults.ts'
import { clock } from './clock.ts'
import { tell } from './tell.ts'

/*
 * Loaded into each app of a chaos run by `--import`. It watches from outside what a request does to Redis, Postgres and
 * the provider, tells the run about it on file descriptor 3, and strikes the process at the boundary that the request
 * asks for in a header. The plugin and the demo app, which are built beside it, know nothing of it.
 */

interface Followed {
  /** The number that the client gave to this try. */
  id: number
  order: Order | null
  /** An outcome is in the journal, and is about to be committed. */
  recorded: boolean
}

type Method = (this: unknown, ...args: unknown[]) => unknown

const current = new AsyncLocalStorage<Followed>()

function reached (boundary: Boundary): void {
  const followed = current.getStore()
  if (followed?.order?.boundary !== boundary) return
  const { action } = followed.order
  followed.order = null
  tell({ event: 'struck', try: followed.id, action, boundary, at: clock() })
  process.kill(process.pid, action === 'kill' ? 'SIGKILL' : 'SIGSTOP')
}

function patch (target: object, name: string, wrap: (original: Method) => Method): void {
  const holder = target as Record<string, Method | undefined>
  const original = holder[name]
  if (original === undefined) throw new Error(`chaos: there is no ${name} to watch`)
  holder[name] = wrap(original)
}

patch(Server.prototype, 'emit', original => function (...args) {
  const [event, request, response] = args as [string, IncomingMessage, ServerResponse]
  if (event === 'listening') {
    tell({ event: 'listening', port: ((this as Server).address() as AddressInfo).port, at: clock() })
  }
  const id = event === 'request' ? request.headers[TRY_HEADER] : undefined
  if (id === undefined) return original.apply(this, args)
  const order = request.headers[STRIKE_HEADER]
  const followed: Followed = {
    id: Number(id), order: order === undefined ? null : JSON.parse(String(order)) as Order, recorded: false
  }
  // The events of the body come from the parser of the connection, which has no context of a request.
  patch(request, 'emit', emit => function (...event) { return current.run(followed, () => emit.apply(this, event)) })
  patch(response, 'writeHead', writeHead => function (...head) {
    const status = Number(head[0])
    // The answers that are final: receipts, and what the provider declined.
    if (status < 300 || status === 402) current.run(followed, () => reached('before response'))
    return writeHead.apply(this, head)
  })
  return current.run(followed, () => original.apply(this, args))
})

/**
 * The owner of a key, by the token in its record: the request whose claim was granted need not be the one that runs.
 */
const owners = new Map<string, { try: number, settling: boolean }>()

function ownerOf (record: unknown): string {
  return String(record).slice(OFFSET.owner, OFFSET.lease)
}

function granted (owner: string, asked: number, attempt: number): void {
  const followed = current.getStore()
  if (followed === undefined) return
  owners.set(owner, { try: followed.id, settling: false })
  tell({ event: 'granted', owner, try: followed.id, asked, at: clock(), attempt })
  reached('after claim')
}

/** Milliseconds after which the plugin may consider Redis unreachable (`storeTimeout`). */
const LONG = 900

// Redis was unreachable until now.
patch(Redis.prototype, 'emit', original => function (...args) {
  if (args[0] === 'ready') tell({ event: 'unheard', from: clock(), at: clock() })
  return original.apply(this, args)
})

/** A command of ioredis. */
interface Command {
  readonly name: string
  /** The bytes that are sent. */
  toWritable (): string | Buffer
  resolve (answer: unknown): unknown
  reject (error: unknown): unknown
}

/** The parts of a command as Redis gets them: what the store writes is not among the arguments that a client sees. */
function partsOf (command: Command): string[] {
  const request = Buffer.from(command.toWritable())
  const parts: string[] = []
  for (let at = request.indexOf('\n') + 1; at < request.length;) {
    const begin = request.indexOf('\n', at) + 1
    const end = begin + Number(request.toString('latin1', at + 1, begin - 2))
    parts.push(request.toString('latin1', begin, end))
    at = end + 2
  }
  return parts
}

/** What a command of the store does, from the parts that Redis gets. */
interface Meaning {
  /** The owner that gives up its key by this command, if the command does that. */
  settles: string | null
  answered (answer: unknown, asked: number): void
}

function meaningOf ([, first, second, third = '', value = '', detail = '']: string[], name: string): Meaning | null {
  if (name === 'set') {
    const [claims, completes] = [detail === 'NX', third === 'IFEQ']
    return {
      settles: completes ? ownerOf(value) : null,
      answered (answer, asked) {
        if (completes && answer !== null) reached('after completion')
        if (claims && answer === null) granted(ownerOf(second), asked, 1)
      }
    }
  }
  if (name !== 'evalsha' && name !== 'eval') return null
  const is = ({ sha, lua }: scripts.Script): boolean => first === sha || first === lua
  return {
    settles: is(scripts.complete)
      ? detail.slice(0, OFFSET.lease - OFFSET.owner)
      : is(scripts.release) ? ownerOf(value) : is(scripts.withdraw) ? value : null,
    answered (answer, asked) {
      if (is(scripts.complete)) reached('after completion')
      if (!is(scripts.takeOver)) return
      const [outcome, attempt] = answer as [number, number]
      if (outcome === scripts.TAKE_OVER.claimed) granted(ownerOf(value), asked, attempt)
    }
  }
}

/** A client sends a command again after it has lost its connection. */
const watched = new WeakSet<Command>()

/** Tells what the command does, before the app learns its answer. Reports where no answer came, or a late one. */
function watch (command: Command): void {
  if (watched.has(command)) return
  watched.add(command)
  const meaning = meaningOf(partsOf(command), command.name)
  if (meaning === null) return
  const asked = clock()
  const owner = meaning.settles ?? ''
  const owned = owners.get(owner)
  if (owned?.settling === false) {
    owned.settling = true
    tell({ event: 'settling', owner, at: clock() })
  }
  const heard = (failed: boolean): void => {
    const at = clock()
    if (failed || at - asked > LONG) tell({ event: 'unheard', from: asked, at })
  }
  const { resolve, reject } = command
  command.resolve = AsyncResource.bind((answer: unknown) => {
    heard(false)
    if (owners.delete(owner)) tell({ event: 'settled', owner, at: clock() })
    meaning.answered(answer, asked)
    return resolve(answer)
  })
  command.reject = AsyncResource.bind((error: unknown) => {
    heard(true)
    return reject(error)
  })
}

patch(Redis.prototype, 'sendCommand', original => function (...args) {
  watch(args[0] as Command)
  return original.apply(this, args)
})

/** Callbacks run in the context of the code that passed them, not in that of the connection that calls them. */
function bound (args: unknown[], before: () => void = () => {}): unknown[] {
  return args.map(arg => typeof arg !== 'function'
    ? arg
    : AsyncResource.bind((...results: unknown[]): unknown => {
      if (results[0] === null || results[0] === undefined) before()
      return (arg as Method)(...results)
    }))
}

patch(pg.Pool.prototype, 'connect', original => function (...args) { return original.apply(this, bound(args)) })

patch(pg.Client.prototype, 'query', original => function (...args) {
  const statement = String(args[0])
  const answered = (): void => {
    const followed = current.getStore()
    if (followed === undefined) return
    if (/INSERT INTO "idempotency_journal"/.test(statement)) {
      followed.recorded = true
      reached('in transaction')
    }
    if (statement === 'COMMIT' && followed.recorded) reached('after commit')
  }
  const result = original.apply(this, bound(args, answered))
  if (!(result instanceof Promise)) return result
  return result.then((value: unknown) => {
    answered()
    return value
  })
})

patch(globalThis, 'fetch', original => async function (...args) {
  const response = await original.apply(this, args)
  if (new URL(String(args[0])).pathname === '/v1/charges') reached('after charge')
  return response
})
