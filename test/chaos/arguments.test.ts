import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { DEFAULTS, readArguments, UsageError } from './arguments.ts'

t.test('without options there are 10,000 payments and at least 500 faults, of a new seed', async (t) => {
  t.same(readArguments([], 42), { seed: 42, payments: 10_000, faults: DEFAULTS.faults, apps: 3 })
  t.ok(DEFAULTS.faults >= 500)
})

t.test('options say otherwise', async (t) => {
  t.same(readArguments(['--seed', '7', '--payments=100', '--faults', '50', '--apps', '2'], 42), {
    seed: 7,
    payments: 100,
    faults: 50,
    apps: 2
  })
  t.equal(readArguments(['--payments', '100'], 42).faults, 100, 'no more faults than payments')
})

const WRONG: Array<[args: string[], message: RegExp]> = [
  [['--fault', '5'], /Unknown option '--fault'/],
  [['5'], /Unexpected argument '5'/],
  [['--seed'], /'--seed <value>' argument missing/],
  [['--seed', '1.5'], /--seed must be a whole number from 0 to 4294967295, not "1.5"/],
  [['--payments', '0'], /--payments must be a whole number from 1 to 1000000, not "0"/],
  [['--payments', '10', '--faults', '11'], /--faults must be a whole number from 0 to 10, not "11"/],
  [['--apps', '1'], /--apps must be a whole number from 2 to 8, not "1"/],
  [['--apps', ''], /--apps must be a whole number/]
]

for (const [args, message] of WRONG) {
  t.test(`${args.join(' ')} is refused by name`, async (t) => {
    t.throws(() => readArguments(args, 42), { name: UsageError.name, message })
  })
}

t.test('the command answers wrong options with its usage, and starts nothing', async (t) => {
  const child = spawn(
    process.execPath,
    ['--import=tsx', resolve(import.meta.dirname, 'chaos.ts'), '--payments', 'many'],
    { stdio: ['ignore', 'pipe', 'pipe'] }
  )
  const [written, [code]] = await Promise.all([text(child.stderr), once(child, 'exit') as Promise<[number]>])
  t.equal(code, 2)
  t.match(written, /^--payments must be a whole number from 1 to 1000000, not "many"\n\nnpm run test:chaos -- /)
})
