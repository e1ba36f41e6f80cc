import autocannon from 'autocannon'
import { BODY, KEY_HEADER } from './apps/shared.ts'
import { ofSorted } from './statistics.ts'

/* A process that sends requests, as it is told by messages, and reports what came of them. */
export interface LoadOrder {
  url: string
  requests: number
  connections: number
  /**
   * The pattern of the keys: `#` is replaced by n for the nth request, or by `n / share` if several requests share a
   * key.
   */
  key: string
  share: number
  /** The number of different keys, which are used in turn. 0: every key is new. */
  keys: number
}

export interface LoadReport {
  /** Answers by status. */
  statuses: Record<string, number>
  errors: number
  /** Requests a second. */
  throughput: number
  /** Milliseconds from a request to its answer, to the microsecond. */
  p50: number
  p99: number
  p999: number
  /** Microseconds of CPU that this process used. */
  cpu: number
}

process.on('message', (order: LoadOrder) => { void send(order) })
process.on('disconnect', () => process.exit(0))

async function send ({ url, requests, connections, key, share, keys }: LoadOrder): Promise<void> {
  let sent = 0
  const nextKey = (): string => {
    const n = Math.floor(sent++ / share)
    return key.replace('#', String(keys === 0 ? n : n % keys))
  }
  // The histogram of autocannon has only whole milliseconds, and its duration only whole seconds.
  const latencies = new Float64Array(requests)
  let answered = 0
  let lastAnswer = 0
  const usage = process.cpuUsage()
  const began = performance.now()
  const result = await new Promise<autocannon.Result>((resolve, reject) => {
    const run = autocannon({
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
    }, (error: Error | null, result) => {
      if (error !== null) reject(error)
      else resolve(result)
    })
    run.on('response', (_client, _status, _bytes, milliseconds) => {
      latencies[answered++] = milliseconds
      lastAnswer = performance.now()
    })
  })
  const sorted = latencies.subarray(0, answered).sort()
  const { user, system } = process.cpuUsage(usage)
  const report: LoadReport = {
    statuses: Object.fromEntries(
      Object.entries(result.statusCodeStats ?? {}).map(([status, { count }]) => [status, count ?? 0])
    ),
    errors: result.errors + result.timeouts,
    throughput: answered / (lastAnswer - began) * 1_000,
    p50: ofSorted(sorted, 0.5),
    p99: ofSorted(sorted, 0.99),
    p999: ofSorted(sorted, 0.999),
    cpu: user + system
  }
  process.send?.(report)
}
