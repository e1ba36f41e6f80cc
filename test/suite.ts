import { testFiles } from './selection.ts'
import { runTogether } from './together.ts'

/* npm test: all of them, with the servers that test/run.ts has started. */
process.exitCode = await runTogether(testFiles(), { args: process.argv.slice(2) })
