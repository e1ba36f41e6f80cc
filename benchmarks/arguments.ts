import { parseArgs } from 'node:util'

export interface Arguments {
  quick: boolean
  /** The names of modes. */
  only: string[]
  profile: boolean
  allocations: boolean
}

const USAGE = `npm run bench -- [--quick] [--only NAME,NAME] [--profile] [--allocations]

  --quick        the modes of the main goals, in under 90 seconds
  --only         only these modes, e.g. --only "bare,plugin first,floor first"
  --profile      CPU profiles of the plugin's first runs and replays instead of a table
  --allocations  the memory that a request allocates, and where, instead of a table
`

/** Ends the process and prints the usage if the arguments make no sense. */
export function readArguments (args: string[]): Arguments {
  try {
    const { values: { quick = false, profile = false, allocations = false, only = '' } } = parseArgs({
      args,
      options: {
        quick: { type: 'boolean' },
        only: { type: 'string' },
        profile: { type: 'boolean' },
        allocations: { type: 'boolean' }
      }
    })
    return { quick, profile, allocations, only: only.split(',').map(name => name.trim()).filter(Boolean) }
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${USAGE}`)
    process.exit(2)
  }
}
