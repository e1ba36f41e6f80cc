import { PEERS } from './apps/index.ts'
import type { AppName } from './apps/index.ts'
import type { Work } from './apps/shared.ts'

/**
 * `cached`: replays in the process that has answered each of the keys a moment ago. `hot`: all connections use one key
 * at a time.
 */
export type Traffic = 'plain' | 'first' | 'replay' | 'cached' | 'conflict' | 'hot'

export interface Mode {
  name: string
  app: AppName
  traffic: Traffic
  work: Work
  /** The number of requests of one window, as a multiple of those of an ordinary mode. */
  share: number
  /** Windows before the first one that counts. */
  warmUp: number
}

export interface ModeSettings extends Partial<Work> {
  app: AppName
  traffic: Traffic
  /** What the tables call the app. Default: its name. */
  subject?: string
  share?: number
  warmUp?: number
}

const SMALL: Work = { size: 200, payload: 'json', takes: 0 }
const KB = 1024
const TRAFFIC_NAMES: Partial<Record<Traffic, string>> = { plain: '', cached: 'replay cached' }

/** V8 needs some 15,000 requests to compile the hot code. */
const WARM_UP = 2

export function mode ({ app, traffic, subject = app, share = 1, warmUp = WARM_UP, ...given }: ModeSettings): Mode {
  const work = { ...SMALL, ...given }
  const { size, payload } = work
  const extra = [
    size === SMALL.size ? '' : size >= KB ? `${size / KB} KB` : `${size} B`,
    payload === 'json' ? '' : payload
  ]
  const name = [subject, TRAFFIC_NAMES[traffic] ?? traffic, ...extra].filter(Boolean).join(' ')
  return { name, app, traffic, work, share, warmUp }
}

/** Replays of the plugin that ask Redis, as those of the peers do. */
const PLUGIN_REPLAY = { subject: 'plugin', app: 'plugin without cache', traffic: 'replay' } as const

/**
 * The modes that the goals and the charts compare. Fast ones have more requests, so that each window takes about as
 * long as another.
 */
export const MAIN: Mode[] = [
  mode({ app: 'bare', traffic: 'plain', share: 2 }),
  mode({ app: 'idle', traffic: 'plain', share: 2 }),
  mode({ app: 'floor', traffic: 'first' }),
  mode({ app: 'plugin', traffic: 'first' }),
  // 100,000 keys are live when the first window begins.
  mode({ app: 'memory', traffic: 'first', warmUp: 10 }),
  mode({ app: 'by hand', traffic: 'first' }),
  ...PEERS.map(app => mode({ app, traffic: 'first', share: app === 'express-idempotency' ? 0.5 : 1 })),
  mode({ app: 'floor', traffic: 'replay', share: 1.5 }),
  mode({ ...PLUGIN_REPLAY, share: 1.5 }),
  mode({ app: 'memory', traffic: 'replay', share: 2 }),
  mode({ app: 'by hand', traffic: 'replay' }),
  ...PEERS.map(app => mode({ app, traffic: 'replay', share: app === 'express-idempotency' ? 0.3 : 1 })),
  mode({ app: 'plugin', traffic: 'cached', share: 2 }),
  mode({ subject: 'powertools', app: 'powertools with cache', traffic: 'cached' })
]

/** Bodies of other sizes and kinds. */
const BODIES: Mode[] = ([[10 * KB, 0.5], [500 * KB, 0.05]] as const).flatMap(([size, share]) =>
  (['json', 'buffer'] as const).flatMap((payload) => {
    const body = { size, payload, share }
    return [
      mode({ app: 'bare', traffic: 'plain', ...body }),
      mode({ app: 'floor', traffic: 'first', ...body }),
      mode({ app: 'plugin', traffic: 'first', ...body }),
      mode({ app: 'floor', traffic: 'replay', ...body }),
      mode({ ...PLUGIN_REPLAY, ...body })
    ]
  }))

/** What the goals do not compare with anything. */
export const FURTHER: Mode[] = [
  mode({ app: 'floor', traffic: 'conflict', takes: 600_000 }),
  // By default a duplicate is held for a moment before it is rejected, and the window would take minutes.
  mode({ subject: 'plugin', app: 'plugin that rejects', traffic: 'conflict', takes: 600_000 }),
  mode({ app: 'plugin', traffic: 'hot', takes: 5, share: 0.5 }),
  mode({ app: 'plugin wait', traffic: 'hot', takes: 5, share: 0.5 }),
  ...BODIES,
  mode({ app: 'plugin', traffic: 'first', payload: 'buffer' }),
  mode({ ...PLUGIN_REPLAY, payload: 'buffer' }),
  mode({ app: 'transaction', traffic: 'first', share: 0.3 }),
  mode({ app: 'journal', traffic: 'first', share: 0.3 })
]

export const MODES: Mode[] = [...MAIN, ...FURTHER]

/** @throws if no mode is called like that */
export function modeOf (name: string): Mode {
  const found = MODES.find(mode => mode.name === name)
  if (found === undefined) throw new Error(`no mode is called "${name}"; there are: ${namesOf(MODES)}`)
  return found
}

export function namesOf (modes: Mode[]): string {
  return modes.map(({ name }) => name).join(', ')
}

/** The modes that `--quick` runs: enough for the main goals. Of the peers it includes only the cheapest. */
export const QUICK: ReadonlySet<string> = new Set([
  'bare', 'idle', 'floor first', 'plugin first', 'floor replay', 'plugin replay', 'plugin replay cached',
  'node-idempotency first', 'node-idempotency replay'
])
