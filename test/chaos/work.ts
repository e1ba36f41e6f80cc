import { setTimeout as delay } from 'node:timers/promises'
import type { Client, Request } from './client.ts'
import { clock } from './clock.ts'
import { strikesInHandler } from './faults.ts'
import type { Fault } from './faults.ts'
import type { Recorder } from './recorder.ts'
import type { PlannedPayment } from './schedule.ts'
import { LEASE, LONGEST_AFTERMATH } from './settings.ts'

/** Brings about a fault when `prepare` is done. */
export type Strike = (fault: Fault, prepare: () => Promise<void>) => Promise<void>

type Prepared = (prepare: () => Promise<void>) => Promise<void>

type WorkOf = Pick<PlannedPayment, 'app' | 'work' | 'fault' | 'leavesAfter'> & { index: number | string }

/** How many clients wait beside the first, and leave. */
const WAITING = 4

/**
 * The suite's own work that goes with a payment, if any does, as its client requests it. Returns the same as
 * `makePayment`.
 */
export async function doWork (client: Client, recorder: Recorder, planned: WorkOf, strike: Strike): Promise<Request[]> {
  const { index, work, app, fault, leavesAfter } = planned
  if (work === null) return []
  const { route, client: kind, ...body } = work
  const request: Request = { key: `work-${index}`, route, variant: 'own', path: `/chaos/${route}`, body, app }
  if (fault !== null && strikesInHandler(fault.kind)) {
    await struck(client, recorder, request, kind === 'leaves', prepare => strike(fault, prepare))
    await client.insist(request, clock() + fault.milliseconds + 1.5 * LEASE)
    await client.persist(request)
  } else if (kind === 're-sends by itself') await reSent(client, recorder, request, leavesAfter)
  else if (kind === 'leaves while it waits') await left(client, recorder, request, leavesAfter)
  else await client.persist(request, kind === 'leaves' ? { leavesAfter } : {})
  return [request]
}

/**
 * When no fault strikes any more, this repeats the work of those clients that get a good answer only without faults.
 */
export async function doWorkInPeace (client: Client, recorder: Recorder, planned: PlannedPayment): Promise<Request[]> {
  if (planned.work?.client !== 're-sends by itself' && planned.work?.client !== 'leaves while it waits') return []
  return doWork(client, recorder, { ...planned, index: `${planned.index}-in-peace`, fault: null }, async () => {})
}

/** The fault strikes while the handler runs. */
async function struck (
  client: Client, recorder: Recorder, request: Request, leaves: boolean, strike: Prepared
): Promise<void> {
  const leave = new AbortController()
  const answers: Array<Promise<unknown>> = []
  await strike(async () => {
    const begun = recorder.begun(request.key)
    const answer = client.persist(request, { leave: leave.signal })
    answers.push(answer)
    await Promise.race([begun, answer])
    if (leaves) leave.abort()
  })
  await Promise.all(answers)
}

/**
 * The connection is cut while the handler runs, as often as a browser with idle connections would send the request
 * again.
 */
async function reSent (client: Client, recorder: Recorder, request: Request, cutAfter: number): Promise<void> {
  const begun = recorder.begun(request.key)
  const later = (): Promise<unknown> => delay(cutAfter)
  await client.press(request, [() => begun.then(later), later, later])
  await client.persist(request)
}

/**
 * The first client, whose work begins, and those that wait for its answer: all of them leave. Then one comes that
 * stays.
 */
async function left (client: Client, recorder: Recorder, request: Request, leavesAfter: number): Promise<void> {
  const leave = new AbortController()
  const begun = recorder.begun(request.key)
  const first = client.once(request, request.app, { leave: leave.signal })
  await Promise.race([begun, first])
  leave.abort()
  const wait = (n: number): Promise<unknown> => client.once(request, request.app + n, { leavesAfter: leavesAfter + 50 })
  await Promise.all(Array.from({ length: WAITING }, (_, n) => wait(n)))
  // Otherwise it would be ahead of them.
  await delay(LONGEST_AFTERMATH)
  await client.persist(request)
}
