import { parseArgs } from 'node:util'
import type { ScheduleOptions } from './schedule.ts'

export const DEFAULTS = { payments: 10_000, faults: 550, apps: 3 }

export const USAGE = `npm run test:chaos -- [--seed N] [--payments N] [--faults N] [--apps N]

  --seed      what the schedule is made of: the same seed, the same faults (by default a new one, which is printed)
  --payments  how many payments are made (default ${DEFAULTS.payments})
  --faults    how many faults strike meanwhile, at most as many as payments (default ${DEFAULTS.faults})
  --apps      how many processes of the demo app share the work, from 2 to 8 (default ${DEFAULTS.apps})
`

/** An option that cannot be used. The message says which one, and what it should have been. */
export class UsageError extends Error {
  override name = 'UsageError'
}

/**
 * @param newSeed what the schedule is made of if nobody says
 * @throws {UsageError}
 */
export function readArguments (args: string[], newSeed: number): ScheduleOptions {
  const given = parse(args)
  const read = (name: keyof typeof given, byDefault: number, least: number, most: number): number => {
    const text = given[name]
    if (text === undefined) return byDefault
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= least && value <= most) return value
    throw new UsageError(`--${name} must be a whole number from ${least} to ${most}, not "${text}"`)
  }
  const payments = read('payments', DEFAULTS.payments, 1, 1_000_000)
  return {
    seed: read('seed', newSeed, 0, 2 ** 32 - 1),
    payments,
    faults: read('faults', Math.min(DEFAULTS.faults, payments), 0, payments),
    apps: read('apps', DEFAULTS.apps, 2, 8)
  }
}

function parse (args: string[]): Partial<Record<keyof ScheduleOptions, string>> {
  try {
    const option = { type: 'string' } as const
    return parseArgs({ args, options: { seed: option, payments: option, faults: option, apps: option } }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}
