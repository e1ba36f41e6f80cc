import { spawn } from 'node:child_process'
import type { ChildProcess, StdioOptions } from 'node:child_process'
import { once } from 'node:events'

/*
 * npm test: lint and type check beside the tests, so that no processor is idle. What they say follows the report of the
 * tests, each in one piece. Fails if one of the three does.
 */
const children: ChildProcess[] = []
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => { for (const child of children) child.kill(signal) })

const beside = ['lint', 'typecheck'].map(script => ({ script, ended: runQuietly(script) }))
const failed: string[] = []
if (!await succeeds(start('test:all', 'inherit'))) failed.push('test:all')
for (const { script, ended } of beside) {
  const { succeeded, output } = await ended
  process.stdout.write(`\n${script}: ${succeeded ? 'nothing to complain about' : 'failed'}\n${output}`)
  if (!succeeded) failed.push(script)
}
if (failed.length > 0) process.stderr.write(`\nFailed: ${failed.map(script => `npm run ${script}`).join(', ')}\n`)
process.exitCode = failed.length > 0 ? 1 : 0

async function runQuietly (script: string): Promise<{ succeeded: boolean, output: string }> {
  const child = start(script, ['ignore', 'pipe', 'pipe'])
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text: string) => { output += text })
  return { succeeded: await succeeds(child), output }
}

function start (script: string, stdio: StdioOptions): ChildProcess {
  const child = spawn('npm', ['run', '--silent', script], { stdio })
  children.push(child)
  return child
}

/** Resolves when it has ended and all that it wrote was read. */
async function succeeds (child: ChildProcess): Promise<boolean> {
  const [code] = await once(child, 'close') as [number | null]
  return code === 0
}
