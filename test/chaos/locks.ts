import type { Verdict } from './checker.ts'
import { keepsFromRedis, standsStill } from './faults.ts'
import { groupBy } from './group-by.ts'
import { lifeAt } from './history.ts'
import type { History, Strike, Try } from './history.ts'

const IN_PROGRESS = 'FST_IDEMPOTENCY_IN_PROGRESS'

export interface Locks {
  verdict: Verdict
  /** Milliseconds. */
  longest: number
}

/**
 * How long keys stay locked when nobody works on them any more.
 *
 * Each 409 "in progress" is measured from the moment when the key's last owner ended: had completed or released the
 * key in Redis, or died. It is measured up to when the refused try was sent, when the key was locked for certain or was
 * locked later. More than the lease and the tolerance is a violation; so is a 409 of a key that nobody has ever owned.
 *
 * Time in which Redis took no writes, or in which the app that refuses stood still or did not hear Redis, does not
 * count, nor does the lease after it: what an owner had to write was written no sooner, and who was away from Redis
 * takes over nothing before it has heard it for a lease.
 *
 * The tolerance is for what is on its way when an owner ends. A claim or renewal of an app that is killed meanwhile may
 * lie in a stalled link or in front of a frozen Redis, and the lease begins when it arrives: the longest stall, and
 * something for a machine whose processes wait for each other.
 */
export function longestLock (history: History, byKey: Map<string, Try[]>, tolerance: number): Locks {
  const { lease, lives, runs, tries, strikes, silences } = history
  const runsOf = groupBy(runs, run => run.try)
  const refused = tries.filter(({ code }) => code === IN_PROGRESS)
  const outages: Array<Pick<Strike, 'app' | 'at' | 'until'>> = [
    ...strikes.filter(({ kind }) => keepsFromRedis(kind) || standsStill(kind)), ...silences
  ].sort((a, b) => a.at - b.at)
  const violations: string[] = []
  let longest = 0
  for (const sent of refused) {
    let ended = -Infinity
    for (const other of byKey.get(sent.key) ?? []) {
      if (other !== sent && other.at <= sent.end) ended = Math.max(ended, endOf(other))
    }
    const locked = ended === -Infinity ? Infinity : healthyTime(ended, sent)
    if (locked < Infinity) longest = Math.max(longest, locked)
    if (locked > lease + tolerance) {
      const since = locked < Infinity
        ? `${Math.round(locked)} ms after its last owner had ended`
        : 'and nobody owned it'
      violations.push(`${sent.key}: in progress ${since}. try ${sent.id} (app ${sent.app})`)
    }
  }
  return {
    verdict: { invariant: '6. no key stays locked longer than its lease', cases: refused.length, violations },
    longest
  }

  /** The milliseconds from that time to when the refused try was sent. */
  function healthyTime (from: number, sent: Try): number {
    let sum = 0
    let since = from
    for (const { at, until, app } of outages) {
      if (at >= sent.at || (app !== null && app !== sent.app)) continue
      sum += Math.max(0, at - since)
      since = Math.max(since, until + lease)
    }
    return sum + Math.max(0, sent.at - since)
  }

  /** The last time at which the claim of this try can have owned the key. */
  function endOf (other: Try): number {
    const diedAt = (at: number): number => lifeAt(lives, other.app, at)?.until ?? Infinity
    const own = runsOf.get(other.id)
    if (own !== undefined) return Math.max(...own.map(({ settled, at }) => settled ?? diedAt(at)))
    // The claim may have been granted without its app ever learning of it.
    if (other.status === null) return diedAt(other.at) < other.end + lease ? diedAt(other.at) : other.end
    return other.status >= 500 ? other.end : -Infinity
  }
}

/**
 * No key is given to a second owner while a first one has it: for a lease at least, unless the first completed or
 * released it, or Redis lost it. Only claims that certainly came one after the other are held against each other.
 */
export function ownersAtOnce ({ lease, runs, tries, strikes }: History): Verdict {
  const emptied = strikes.filter(({ kind }) => kind === 'Redis killed, back empty')
  const violations: string[] = []
  let cases = 0
  for (const [key, owners] of groupBy(runs, run => tries[run.try]?.key ?? '')) {
    owners.sort((a, b) => a.at - b.at)
    for (const [i, later] of owners.entries()) {
      for (const earlier of owners.slice(0, i)) {
        if (earlier.at > later.asked) continue
        cases++
        const isOver = earlier.settling !== null && earlier.settling <= later.at
        const wasLost = emptied.some(({ at, until }) => at <= later.at && until >= earlier.asked)
        if (!isOver && !wasLost && later.at < earlier.asked + lease) {
          violations.push(
            `${key}: try ${later.try} (attempt ${later.attempt}) got it ${Math.round(later.at - earlier.asked)} ms ` +
              `after try ${earlier.try} (attempt ${earlier.attempt}), which had not let it go`
          )
        }
      }
    }
  }
  return { invariant: '7. no key has two owners within a lease', cases, violations }
}
