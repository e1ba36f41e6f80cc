import type { Verdict } from './checker.ts'
import { keepsFromRedis } from './faults.ts'
import { groupBy } from './group-by.ts'
import { lifeAt, strikesDuring } from './history.ts'
import type { Evidence, History, Life, Strike, Try, WorkRun } from './history.ts'

/** A run of the suite's own work, with what is known of who ran it. */
interface Told extends WorkRun {
  sent: Try
  life: Life | undefined
}

/**
 * A run whose handler ended with an answer to keep is followed by no other one of its key, as long as its process lives:
 * whatever Redis refuses meanwhile, and for however long. Not held against the plugin:
 * - that Redis lost what it had acknowledged;
 * - that the process stood still, or was cut off from Redis on its own for so long that its lease ran out unheard.
 * Of a process that was told to end, and ended, the same is asked, if Redis could have heard of all in time.
 */
export function completedOnce ({ lease, work, tries, lives, strikes }: History): { alive: Verdict, deployed: Verdict } {
  const alive: Verdict = { invariant: '10. a completed run is never repeated while its process lives', cases: 0, violations: [] }
  const deployed: Verdict = { invariant: '11. a process that is told to end cuts no handler, and loses no outcome', cases: 0, violations: [] }
  const told = work.flatMap((run): Told[] => {
    const sent = tries[run.try]
    return sent === undefined || sent.route === 'journalled' ? [] : [{ ...run, sent, life: lifeAt(lives, sent.app, run.at) }]
  })
  for (const [key, runs] of groupBy(told, ({ sent }) => sent.key)) {
    runs.sort((a, b) => a.at - b.at)
    for (const run of runs) {
      const { sent, life, ended, kept } = run
      const wasDeployed = life?.end === 'exited'
      if (wasDeployed) deployed.cases++
      if (ended === null) {
        if (wasDeployed) deployed.violations.push(`${key}: cut in its handler. try ${sent.id} (app ${sent.app})`)
        continue
      }
      if (!kept) continue
      const until = life?.end === null ? Infinity : life?.until ?? Infinity
      if (!wasDeployed) alive.cases++
      const next = runs.find(other => other.at > ended)
      if (next === undefined || isExcused(strikes, run, next.at, lease)) continue
      const text = `${key}: completed by try ${sent.id} (app ${sent.app}, attempt ${run.attempt}), run again ${Math.round(next.at - ended)} ms later by try ${next.try} (app ${next.sent.app}, attempt ${next.attempt})${during(strikes, ended, next.at)}`
      if (next.at <= until) alive.violations.push(text)
      else if (wasDeployed && !strikesDuring(strikes, run.at, until).some(strike => cutsOff(strike, sent.app))) deployed.violations.push(text)
    }
  }
  return { alive, deployed }
}

function isExcused (strikes: Strike[], { sent, at }: Told, again: number, lease: number): boolean {
  const meanwhile = strikesDuring(strikes, Math.min(at, sent.at), again)
  const cutOff = meanwhile.filter(({ kind, app }) => app === sent.app && kind.startsWith('link to Redis'))
  return meanwhile.some(({ kind, app }) => kind === 'Redis killed, back empty' || (app === sent.app && standsStill(kind))) ||
    // Renewed for the last time up to a third of it before, and given up a sixth before its end.
    cutOff.reduce((sum, strike) => sum + strike.until - strike.at, 0) >= lease / 2
}

function standsStill (kind: Strike['kind']): boolean {
  return kind === 'app stopped beyond its lease' || kind === 'app frozen beyond its lease'
}

/** The app cannot write to Redis while it lasts. */
function cutsOff ({ kind, app }: Strike, whom: number): boolean {
  return (app === null || app === whom) && (keepsFromRedis(kind) || standsStill(kind))
}

function during (strikes: Strike[], from: number, until: number): string {
  const kinds = new Set(strikesDuring(strikes, from, until).map(({ kind }) => kind))
  return kinds.size === 0 ? '' : `, during: ${[...kinds].join('; ')}`
}

/**
 * Who pressed once, and whose stack sent it again, gets one answer of one run, and nothing that must be understood.
 * Unless a process that had it died or stood still, or could not be heard by Redis, then or just before.
 */
export function pressedOnce ({ lease, presses, tries, work, strikes, lives }: History): Verdict {
  const violations: string[] = []
  let cases = 0
  const runs = groupBy(work, run => tries[run.try]?.key ?? '')
  for (const ids of presses) {
    const sent = ids.map(id => tries[id] as Try)
    const [first, last] = [sent[0], sent.at(-1)]
    if (first === undefined || last === undefined) continue
    const apps = new Set(sent.map(({ app }) => app))
    // Clients of Redis take their time to connect again.
    const from = first.at - lease
    const broken = strikesDuring(strikes, from, last.end).some(strike =>
      strike.kind.startsWith('Redis') || (strike.app !== null && apps.has(strike.app)))
    const died = lives.some(life => apps.has(life.app) && life.end !== null && life.until >= from && life.from <= last.end)
    const notThere = sent.some(({ app, at, end }) => lifeAt(lives, app, at) === undefined || lifeAt(lives, app, end) === undefined)
    if (broken || died || notThere) continue
    cases++
    const times = runs.get(first.key)?.length ?? 0
    const wrong = sent.find(({ status }) => status !== null && status !== 200)
    if (wrong !== undefined || last.status !== 200 || times !== 1) {
      violations.push(`${first.key}: sent ${sent.length} times for one press, run ${times} times. ${sent.map(({ id, app, status, code }) => `try ${id} (app ${app}): ${status ?? 'no answer'} ${code ?? ''}`.trim()).join('; ')}`)
    }
  }
  return { invariant: '12. who pressed once gets one answer of one run', cases, violations }
}

/**
 * No handler begins for a client that left while it waited for another run.
 * @param aftermath what is on its way when a client leaves may arrive for so many milliseconds
 */
export function nobodyRuns ({ work, tries, strikes }: History, aftermath: number): Verdict {
  const violations: string[] = []
  let cases = 0
  for (const { key, id, at, end, status, app, route } of tries) {
    if (status !== null || route === 'create' || route === 'pay') continue
    cases++
    const run = work.find(run => run.try === id)
    if (run === undefined || run.at <= end + aftermath) continue
    if (strikesDuring(strikes, at, run.at).some(strike => cutsOff(strike, app))) continue
    violations.push(`${key}: run ${Math.round(run.at - end)} ms after its client had left. try ${id} (app ${app}, attempt ${run.attempt})`)
  }
  return { invariant: '13. nothing runs for who has left', cases, violations }
}

/** A handler that stood still for longer than its lease knows, when it goes on, that its key may be another's. */
export function told ({ lease, work, tries, strikes }: History): Verdict {
  const violations: string[] = []
  let cases = 0
  for (const run of work) {
    const sent = tries[run.try]
    if (run.ended === null || sent === undefined) continue
    const [still, another] = strikesDuring(strikes, run.at, run.ended).filter(({ kind, app }) => app === sent.app && standsStill(kind))
    // The end of one would be the end of both.
    if (still === undefined || another !== undefined) continue
    const { at, until } = still
    if (at < run.at || until > run.ended || until - at < lease) continue
    cases++
    if (!run.aborted) violations.push(`${sent.key}: went on after ${Math.round(until - at)} ms, and was not told. try ${sent.id} (app ${sent.app})`)
  }
  return { invariant: '14. who was away for longer than its lease is told', cases, violations }
}

/** What is answered as done was committed before, once; a transaction that failed in the end is no answer. */
export function committedOnce ({ tries, work }: History, { effects }: Evidence): Verdict {
  const committed = groupBy(effects, key => key)
  const done = groupBy(tries.filter(({ route, status }) => route === 'journalled' && status === 204), ({ key }) => key)
  const violations: string[] = []
  for (const [key, { length }] of committed) {
    if (length > 1) violations.push(`${key}: committed ${length} times`)
  }
  const runs = groupBy(work, run => tries[run.try]?.key ?? '')
  for (const [key, [sent]] of done) {
    // A process that dies after its commit tells of no end.
    const began = runs.get(key)?.some(({ at, ended, kept }) => at <= (sent as Try).end && (kept || ended === null))
    if (!committed.has(key) || began !== true) violations.push(`${key}: answered as done, and nothing was committed. try ${sent?.id} (app ${sent?.app})`)
  }
  return { invariant: '15. what is answered as done was committed, once', cases: done.size, violations }
}
