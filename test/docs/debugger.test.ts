import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { ROOT } from './markdown.ts'

/*
 * .vscode/launch.json, without the editor: the same commands in a shell, with Node's inspector on any free port.
 */

interface Configuration {
  name: string
  request: 'launch' | 'attach'
  runtimeArgs: string[]
  program: string
  args?: string[]
  env?: Record<string, string>
}

async function readJson<T> (file: string): Promise<T> {
  return JSON.parse(await readFile(join(ROOT, file), 'utf8')) as T
}

const { configurations } = await readJson<{ configurations: Configuration[] }>('.vscode/launch.json')
const { scripts } = await readJson<{ scripts: Record<string, string> }>('package.json')
const launched = configurations.filter(({ request }) => request === 'launch')

/** What the editor runs while this file, by its path in the project, is open. */
function commandOf ({ runtimeArgs, program, args = [] }: Configuration, file = ''): string {
  const words = ['node', ...runtimeArgs, program, ...args]
  return words.join(' ').replaceAll(/\$\{workspaceFolder\}\//g, '').replaceAll(/\$\{file\}/g, file)
}

t.test('the debugger starts the demo as npm start does', async (t) => {
  const [demo] = launched.filter(({ program }) => program.endsWith('/demo-app/server.ts'))
  t.equal(demo && `exec ${commandOf(demo)}`, scripts.start)
})

for (const configuration of launched.filter(configuration => commandOf(configuration, 'FILE').includes('FILE'))) {
  t.test(`the debugger runs a test file: ${configuration.name}`, async (t) => {
    const command = commandOf(configuration, 'test/operator.test.ts')
    const { stdout, stderr } = await promisify(execFile)('sh', ['-c', `NODE_OPTIONS=--inspect=0 exec ${command}`], {
      cwd: ROOT, env: { ...process.env, ...configuration.env }
    })
    t.match(stdout, /^# \{ total: \d+, pass: \d+ \}|^1\.\.\d+$/m)
    t.notMatch(stdout, /^not ok/m)
    const processes = stderr.match(/^Debugger listening on /gm)?.length
    t.equal(processes, command.includes('test/run.ts') ? 2 : 1, 'the process that has the tests can be debugged')
  })
}
