import autocannon from 'autocannon'
import { BODY, KEY_HEADER } from './apps/shared.ts'

/* A process that sends requests and reports what came of them. */
export interface LoadOrder {
  url: string
  requests: number
  connections: number
  /** The key of the nth request is this with n put in the place of `#`; `n / share`, if several share one. */
  key: string
  share: number
  /** How many different keys there are; they come round again. 0: no end of them. */
  keys: number
}

export interface LoadReport {
  /** Answers by status. */
  statuses: Record<string, number>
  errors: number
  /** Requests a second. */
  throughput: number
  /** Milliseconds. */
  p50: number
  p99: number
  p999: number
}

const { url, requests, connections, key, share, keys } = JSON.parse(process.argv[2] ?? '') as LoadOrder
let sent = 0

function nextKey (): string {
  const n = Math.floor(sent++ / share)
  return key.replace('#', String(keys === 0 ? n : n % keys))
}

const result = await autocannon({
  url,
  amount: requests,
  connections: Math.min(connections, requests),
  timeout: 60,
  requests: [{
    method: 'POST',
    path: '/pay',
    body: BODY,
    headers: { 'content-type': 'application/json' },
    setupRequest: request => ({ ...request, headers: { ...request.headers, [KEY_HEADER]: nextKey() } })
  }]
})
const report: LoadReport = {
  statuses: Object.fromEntries(Object.entries(result.statusCodeStats ?? {}).map(([status, { count }]) => [status, count ?? 0])),
  errors: result.errors + result.timeouts,
  throughput: result.requests.total / result.duration,
  p50: result.latency.p50,
  p99: result.latency.p99,
  p999: result.latency.p99_9
}
process.send?.(report)
