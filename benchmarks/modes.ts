import { PEERS } from './apps/index.ts'
import type { AppName } from './apps/index.ts'
import type { Work } from './apps/shared.ts'

/** `hot`: all connections use one key at a time. */
export type Traffic = 'plain' | 'first' | 'replay' | 'conflict' | 'hot'

export interface Mode {
  name: string
  app: AppName
  traffic: Traffic
  work: Work
  /** The share of the requests of an ordinary mode, for modes that take long. */
  share: number
}

const SMALL: Work = { size: 200, payload: 'json', takes: 0 }

function mode (app: AppName, traffic: Traffic, work: Partial<Work> = {}, share = 1): Mode {
  const { size = SMALL.size, payload = SMALL.payload } = work
  const extra = [
    size === SMALL.size ? '' : size >= 1024 ? `${size / 1024} KB` : `${size} B`,
    payload === 'json' ? '' : payload
  ]
  return {
    name: [app, traffic === 'plain' ? '' : traffic, ...extra].filter(Boolean).join(' '),
    app,
    traffic,
    work: { ...SMALL, ...work },
    share
  }
}

const KB = 1024

/** All modes, in the order in which a round runs them. */
export const MODES: Mode[] = [
  mode('bare', 'plain'),
  mode('idle', 'plain'),
  mode('floor', 'first'),
  mode('plugin', 'first'),
  mode('memory', 'first'),
  mode('floor', 'replay'),
  mode('plugin', 'replay'),
  mode('memory', 'replay'),
  mode('floor', 'conflict', { takes: 600_000 }),
  mode('plugin', 'conflict', { takes: 600_000 }),
  mode('plugin', 'hot', { takes: 5 }, 0.5),
  mode('plugin wait', 'hot', { takes: 5 }, 0.5),
  ...[10 * KB, 500 * KB].flatMap(size => (['json', 'buffer'] as const).flatMap(payload => [
    mode('bare', 'plain', { size, payload }, size > 100 * KB ? 0.05 : 0.5),
    mode('floor', 'first', { size, payload }, size > 100 * KB ? 0.05 : 0.5),
    mode('plugin', 'first', { size, payload }, size > 100 * KB ? 0.05 : 0.5),
    mode('floor', 'replay', { size, payload }, size > 100 * KB ? 0.05 : 0.5),
    mode('plugin', 'replay', { size, payload }, size > 100 * KB ? 0.05 : 0.5)
  ])),
  mode('plugin', 'first', { payload: 'buffer' }),
  mode('plugin', 'replay', { payload: 'buffer' }),
  mode('transaction', 'first', {}, 0.3),
  mode('journal', 'first', {}, 0.3),
  ...PEERS.flatMap(peer => [mode(peer, 'first'), mode(peer, 'replay')])
]

/** The modes that `--quick` runs: enough for the goals. Of the peers it includes only the cheapest so far. */
export const QUICK = new Set([
  'bare', 'idle', 'floor first', 'plugin first', 'floor replay', 'plugin replay', 'node-idempotency first',
  'node-idempotency replay'
])
