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

/** What an app asks Redis. Reports where no answer came, or a late one. */
async function heard<T> (asked: number, answer: Promise<T>): Promise<T> {
  let failed = true
  try {
    const value = await answer
    failed = false
    return value
  } finally {
    const at = clock()
    if (failed || at - asked > LONG) tell({ event: 'unheard', from: asked, at })
  }
}

// Redis was unreachable until now.
patch(Redis.prototype, 'emit', original => function (...args) {
  if (args[0] === 'ready') tell({ event: 'unheard', from: clock(), at: clock() })
  return original.apply(this, args)
})

patch(Redis.prototype, 'setBuffer', original => async function (...args) {
  const asked = clock()
  const found = await heard(asked, original.apply(this, args) as Promise<unknown>)
  if (found === null) granted(ownerOf(args[1]), asked, 1)
  return found
})

/** The owner that gives up its key by this call, if the call does that. */
function settlingOwner (is: (script: scripts.Script) => boolean, [first, second]: unknown[]): string | null {
  if (is(scripts.complete)) return String(second).slice(0, OFFSET.lease - OFFSET.owner)
  if (is(scripts.release)) return ownerOf(first)
  return is(scripts.withdraw) ? String(first) : null
}

for (const name of ['evalsha', 'eval']) {
  patch(Redis.prototype, name, original => async function (...args) {
    const [which, , , ...rest] = args
    const is = ({ sha, lua }: scripts.Script): boolean => which === sha || which === lua
    const owner = settlingOwner(is, rest) ?? ''
    const owned = owners.get(owner)
    if (owned?.settling === false) {
      owned.settling = true
      tell({ event: 'settling', owner, at: clock() })
    }
    const asked = clock()
    const answer = await heard(asked, original.apply(this, args) as Promise<unknown>)
    if (owners.delete(owner)) tell({ event: 'settled', owner, at: clock() })
    if (is(scripts.complete)) reached('after completion')
    if (is(scripts.takeOver)) {
      const [outcome, attempt] = answer as [number, number]
      if (outcome === scripts.TAKE_OVER.claimed) granted(ownerOf(rest[0]), asked, attempt)
    }
    return answer
  })
}

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
