import { readPage } from '../docs/markdown.ts'
import { run } from '../packed.ts'

export interface Step {
  command: string
  output: string
}

export interface Instructions {
  /** The commands that install and start the example. */
  start: string
  /** What a reader then types, and sees. */
  steps: Step[]
}

/** The blocks of an example's README.md: how it is started, then pairs of a command and its output. */
export async function instructionsOf (example: string): Promise<Instructions> {
  const file = `examples/${example}/README.md`
  const [first, ...blocks] = (await readPage(file)).blocks
  const steps: Step[] = []
  while (blocks.length > 0) {
    const [command, output] = blocks.splice(0, 2)
    if (command?.language !== 'sh' || output?.language !== 'text') {
      throw new Error(`${file}:${command?.line}: a block of sh must be followed by a block of text that it prints`)
    }
    steps.push({ command: command.code, output: output.code })
  }
  return { start: first?.code ?? '', steps }
}

/**
 * What a command prints that is sent to the server at this address. Of an HTTP message the status, the header
 * `idempotent-replayed` and the body are left: other headers are "other headers" in README.md.
 */
export async function printed (command: string, url: string): Promise<string> {
  const { stdout } = await run('sh', ['-c', command.replaceAll('http://localhost:3000', url)])
  if (!stdout.startsWith('HTTP/')) return `${stdout}\n`
  const [head = '', body = ''] = stdout.split('\r\n\r\n')
  const [status = '', ...headers] = head.split('\r\n')
  const shown = [status, ...headers.filter(header => header.startsWith('idempotent-replayed:'))]
  return `${shown.join('\n')}\n\n${body}\n`
}
