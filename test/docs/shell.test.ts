import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { startServer } from '../demo/process.ts'
import { until } from '../helper.ts'
import { documented, readPage } from './markdown.ts'

const blocks = (await Promise.all((await documented()).map(readPage))).flatMap(page => page.blocks)

t.test('the commands in the pages are those of the quick start, which quick-start.test.ts runs', async (t) => {
  const commands = blocks.filter(({ language, notRunBecause }) => language === 'sh' && notRunBecause === null)
  const names = ['README.md: Quick start', 'README.md: Quick start 2', 'README.md: Quick start 3']
  t.same(commands.map(({ file, name }) => `${file}: ${name}`), names, 'they are all that is to be run')
})

t.test('the commands that the payment service prints pay an order twice with one charge', async (t) => {
  const server = startServer(t)
  const url = await server.listening()
  const printed = (): string => /^URL=[^]*?^done$/m.exec(server.stdout())?.[0] ?? ''
  await until(() => printed() !== '', 'the commands')
  t.ok(printed().startsWith(`URL=${url};`), 'they are for the service that prints them')
  const { stdout } = await promisify(execFile)('sh', ['-c', printed()])
  const answers = stdout.split(/^(?=HTTP\/)/m).map(answer => answer.trim().split('\r\n\r\n'))
  t.equal(answers.length, 2, stdout)
  const [[head = '', body = ''] = [], [secondHead = '', secondBody = ''] = []] = answers
  t.match(head, /^HTTP\/1.1 200 OK/)
  t.match(JSON.parse(body), { amount: 1999, status: 'paid' })
  t.notMatch(head, 'idempotent-replayed')
  t.match(secondHead, /^HTTP\/1.1 200 OK[\s\S]*idempotent-replayed: true/)
  t.equal(secondBody, body)
})
