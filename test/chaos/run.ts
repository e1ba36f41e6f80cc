import { setMaxListeners } from 'node:events'
import { closed } from './app.ts'
import { build } from './build.ts'
import type { Patch } from './build.ts'
import { check } from './checker.ts'
import type { Checked } from './checker.ts'
import { Client } from './client.ts'
import type { Request } from './client.ts'
import { clock } from './clock.ts'
import { readBooks, untilNoneIsPaying } from './evidence.ts'
import { strikesInHandler } from './faults.ts'
import type { AppEvent, Evidence, History } from './history.ts'
import { Injector } from './injector.ts'
import { makePayment } from './payment.ts'
import { Recorder } from './recorder.ts'
import type { PlannedPayment } from './schedule.ts'
import { CLIENTS, LEASE, LONGEST_STALL, SWEEP_AFTER, TIME_TO_FINISH } from './settings.ts'
import { doWork, doWorkInPeace } from './work.ts'
import { World } from './world.ts'

export interface RunOptions {
  seed: number
  apps: number
  /** The changes to the plugin and the demo app. Default: none. */
  patches?: Patch[]
  /** How many payments run at once. Default `CLIENTS`. */
  clients?: number
  /** How long a client tries after the faults have stopped. Default `TIME_TO_FINISH`. */
  timeToFinish?: number
  /** Is called with the progress, every few seconds. */
  progress?: (line: string) => void
}

export interface Result {
  planned: PlannedPayment[]
  history: History
  evidence: Evidence
  checked: Checked
  took: number
}

const PROGRESS_EVERY = 5_000
/** Allows for what waits in a stalled link or a frozen Redis when an owner ends, and for a busy machine. */
const TOLERANCE = LONGEST_STALL + 1_200

/**
 * Makes all payments of a schedule while its faults strike, waits until everything is over, and checks it against the
 * promises.
 */
export async function run (planned: PlannedPayment[], options: RunOptions): Promise<Result> {
  const { seed, apps, patches, clients = CLIENTS, timeToFinish = TIME_TO_FINISH, progress = () => {} } = options
  const began = clock()
  const recorder = new Recorder()
  const givenUp = new AbortController()
  // All clients that pause listen for this event.
  setMaxListeners(0, givenUp.signal)
  const injector = new Injector(() => world, () => givenUp.abort())
  const { directory, remove } = await build(patches)
  const onEvent = (app: number, event: AppEvent): void => {
    recorder.hear(app, event)
    injector.hear(app, event)
  }
  const world = await World.start({ seed, apps, directory, onEvent }).catch((error: unknown) => {
    remove()
    throw error
  })
  const client = new Client(recorder, () => world.apps.map(({ url }) => url), givenUp.signal)
  const again: Request[][] = []
  let done = 0
  const reporter = setInterval(() => {
    progress(
      `${done} of ${planned.length} payments, ${injector.strikes.length} faults, ${recorder.tries.length} ` +
        `requests, ${((clock() - began) / 1_000).toFixed(0)} s`
    )
  }, PROGRESS_EVERY)
  let giveUp: NodeJS.Timeout | undefined
  /**
   * Runs this many payments at once, in their order. After the last has begun, the others have their time to finish.
   */
  const forAll = async <T>(items: T[], work: (item: T) => Promise<void>): Promise<void> => {
    const left = items.entries()
    await Promise.all(Array.from({ length: clients }, async () => {
      for (const [i, item] of left) {
        if (i === items.length - 1) giveUp = setTimeout(() => givenUp.abort(), timeToFinish)
        await work(item)
      }
    }))
    clearTimeout(giveUp)
  }
  try {
    await forAll(planned, async (payment) => {
      const { fault } = payment
      if (fault !== null && !strikesInHandler(fault.kind)) await injector.strike(fault)
      again.push(...await Promise.all([
        makePayment(client, recorder, payment),
        doWork(client, recorder, payment, (fault, prepare) => injector.strike(fault, prepare))
      ]))
      done++
    })
    await injector.calm()
    await world.provider.clearFaults()
    await Promise.all(world.apps.map(app => app.up()))
    await forAll(planned, async (payment) => { again.push(await doWorkInPeace(client, recorder, payment)) })
    progress(`the faults have stopped: every key is sent once more, after ${((clock() - began) / 1_000).toFixed(0)} s`)
    await untilNoneIsPaying(world, SWEEP_AFTER + timeToFinish)
    await forAll(again, async (requests) => {
      for (const request of requests) await client.persist(request)
    })
    const evidence = await readBooks(world, new Set(recorder.tries.map(({ key }) => key)))
    const history = recorder.history({
      lease: LEASE,
      lives: closed(world.apps.flatMap(({ lives }) => lives)),
      strikes: injector.strikes
    })
    return { planned, history, evidence, checked: check(history, evidence, TOLERANCE), took: clock() - began }
  } finally {
    clearInterval(reporter)
    clearTimeout(giveUp)
    givenUp.abort()
    await world.close()
    remove()
  }
}
