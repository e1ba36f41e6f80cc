import { createServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import type { Test } from 'tap'
import { until } from '../helper.ts'
import { listen } from './listen.ts'

/**
 * The payment provider that services of the tests call from their handlers: a charge takes as long as the test wants.
 * Requests to `/together/6` are answered when there are six of them.
 */
export interface Provider {
  url: string
  /** How often a charge was begun for this key, by any process. */
  charges (key: string): number
  /** Resolves when a charge was begun for this key. */
  asked (key: string): Promise<void>
  /** Answers the charges of this key, including those that are begun later. */
  answer (key: string, status?: number): void
  /** Answers every charge except those of this key, and from now on at once. */
  answerOthers (key: string): void
}

interface Account {
  charges: number
  status: number | null
  held: ServerResponse[]
}

export async function startProvider (t: Test): Promise<Provider> {
  const accounts = new Map<string, Account>()
  let heldKey: string | null = null
  let answersOthers = false
  const accountOf = (key: string): Account => {
    const account = accounts.get(key) ?? { charges: 0, status: null, held: [] }
    accounts.set(key, account)
    return account
  }
  const send = (response: ServerResponse, status: number, charge: number): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ charge }))
  }
  const together: ServerResponse[] = []
  const server = createServer((request, response) => {
    const [, what, size] = request.url?.split('/') ?? []
    if (what === 'together') {
      if (together.push(response) === Number(size)) for (const response of together.splice(0)) response.end()
      return
    }
    const key = decodeURIComponent(request.url?.split('/').at(-1) ?? '')
    const account = accountOf(key)
    account.charges++
    const status = account.status ?? (answersOthers && key !== heldKey ? 200 : null)
    if (status === null) account.held.push(response)
    else send(response, status, account.charges)
  })
  const answer = (key: string, status = 200): void => {
    const account = accountOf(key)
    account.status = status
    for (const response of account.held.splice(0)) send(response, status, account.charges)
  }
  return {
    url: await listen(t, server),
    charges: key => accountOf(key).charges,
    asked: key => until(() => accountOf(key).charges > 0, 'the handler asking the provider', 60_000),
    answer,
    answerOthers (key) {
      answersOthers = true
      heldKey = key
      for (const other of accounts.keys()) if (other !== key) answer(other)
    }
  }
}
