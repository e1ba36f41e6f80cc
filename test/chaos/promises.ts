import { cite } from './cite.ts'
import type { Verdict } from './checker.ts'
import { keepsFromRedis, standsStill } from './faults.ts'
import { groupBy } from './group-by.ts'
import { lifeAt, strikesDuring } from './history.ts'
import type { Evidence, History, Life, Strike, Try, WorkRun } from './history.ts'

/** A run of the suite's own work, with what is known about the process that ran it. */
interface Told extends WorkRun {
  sent: Try
  life: Life | undefined
}

/**
 * A run whose handler ended with an answer to keep is followed by no other one of its key while its process lives:
 * whatever Redis refuses meanwhile, and for however long. Not held against the plugin:
 * - that Redis lost what it had acknowledged;
 * - that the process stood still, or was cut off from Redis, on its own in part at least, for so long that its lease
 *   ran out unheard. Of a process that was told to end, and ended, the same is asked, if Redis could have heard of all
 *   in time.
 */
export function completedOnce ({ lease, work, tries, lives, strikes }: History): { alive: Verdict, deployed: Verdict } {
  const alive = verdict('10. a completed run is never repeated while its process lives')
  const deployed = verdict('11. a process that is told to end cuts no handler, and loses no outcome')
  const told = work.flatMap((run): Told[] => {
    const sent = tries[run.try]
    if (sent === undefined || sent.route === 'journalled') return []
    return [{ ...run, sent, life: lifeAt(lives, sent.app, run.at) }]
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
      const by = ({ sent, attempt }: Told): string => `by try ${sent.id} (app ${sent.app}, attempt ${attempt})`
      const later = `${Math.round(next.at - ended)} ms later`
      const text = `${key}: completed ${by(run)}, run again ${later} ${by(next)}${during(strikes, run.at, next.at)}`
      if (next.at <= until) alive.violations.push(text)
      else if (wasDeployed && !isCutOff(strikes, run.at, until, sent.app)) deployed.violations.push(text)
    }
  }
  return { alive, deployed }
}

function verdict (invariant: string): Verdict {
  return { invariant, cases: 0, violations: [] }
}

function isExcused (strikes: Strike[], { sent, at }: Told, again: number, lease: number): boolean {
  const meanwhile = strikesDuring(strikes, Math.min(at, sent.at), again)
  const alone = meanwhile.some(({ kind, app }) => app === sent.app && kind.startsWith('link to Redis'))
  const silent = meanwhile.filter(strike => cutsOff(strike, sent.app))
  return meanwhile.some(({ kind }) => kind === 'Redis killed, back empty') ||
    meanwhile.some(({ kind, app }) => app === sent.app && standsStill(kind)) ||
    // A lease is renewed for the last time up to a third of it before, and is given up a sixth before its end. An
    // outage that all noticed, and that the process's own link made longer, ended earlier for the others.
    (alone && silent.reduce((sum, strike) => sum + strike.until - strike.at, 0) >= lease / 2)
}

/** The app cannot write to Redis while the fault lasts. */
function cutsOff ({ kind, app }: Strike, whom: number): boolean {
  return (app === null || app === whom) && (keepsFromRedis(kind) || standsStill(kind))
}

function isCutOff (strikes: Strike[], from: number, until: number, app: number): boolean {
  return strikesDuring(strikes, from, until).some(strike => cutsOff(strike, app))
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
    // Clients of Redis need time to reconnect.
    const from = first.at - lease
    const broken = strikesDuring(strikes, from, last.end).some(strike =>
      strike.kind.startsWith('Redis') || (strike.app !== null && apps.has(strike.app)))
    const died = lives.some(({ app, end, ...life }) =>
      apps.has(app) && end !== null && life.until >= from && life.from <= last.end)
    const isThere = ({ app, at, end }: Try): boolean => [at, end].every(when => lifeAt(lives, app, when) !== undefined)
    const notThere = !sent.every(isThere)
    if (broken || died || notThere) continue
    cases++
    const times = runs.get(first.key)?.length ?? 0
    const wrong = sent.find(({ status }) => status !== null && status !== 200)
    if (wrong !== undefined || last.status !== 200 || times !== 1) {
      violations.push(`${first.key}: sent ${sent.length} times for one press, run ${times} times. ${cite(sent)}`)
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
    if (isCutOff(strikes, at, run.at, app)) continue
    violations.push(`${key}: run ${Math.round(run.at - end)} ms after its client had left. try ${id} (app ${app})`)
  }
  return { invariant: '13. nothing runs for who has left', cases, violations }
}

/** A handler that stood still for longer than its lease knows, when it continues, that another run may own its key. */
export function told ({ lease, work, tries, strikes }: History): Verdict {
  const violations: string[] = []
  let cases = 0
  for (const run of work) {
    const sent = tries[run.try]
    if (run.ended === null || sent === undefined) continue
    const [still, another] = strikesDuring(strikes, run.at, run.ended)
      .filter(({ kind, app }) => app === sent.app && standsStill(kind))
    // The end of one would be the end of both.
    if (still === undefined || another !== undefined) continue
    const { at, until } = still
    if (at < run.at || until > run.ended || until - at < lease) continue
    cases++
    if (run.aborted) continue
    violations.push(`${sent.key}: away for ${Math.round(until - at)} ms, and not told. ${cite([sent])}`)
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
    // A process that dies after its commit reports no end.
    const began = runs.get(key)?.some(({ at, ended, kept }) => at <= (sent as Try).end && (kept || ended === null))
    if (committed.has(key) && began === true) continue
    violations.push(`${key}: answered as done, and nothing was committed. ${cite([sent as Try])}`)
  }
  return { invariant: '15. what is answered as done was committed, once', cases: done.size, violations }
}
