import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { banner } from '../../demo-app/banner.ts'
import { startServer } from '../demo/process.ts'
import { documented, readPage } from './markdown.ts'

const pages = await Promise.all((await documented()).map(readPage))
const commands = pages.flatMap(({ blocks }) => blocks).filter(({ language, notRunBecause }) => language === 'sh' && notRunBecause === null)

t.test('the commands of the README pay an order twice with one charge, on a service that was just started', async (t) => {
  t.same(commands.map(({ file, name }) => `${file}: ${name}`), ['README.md: Try it 2'], 'they are all that is to be run')
  const [{ code } = { code: '' }] = commands
  const url = await startServer(t).listening()
  const { stdout } = await promisify(execFile)('sh', ['-c', code.replace('http://127.0.0.1:3000', url)])
  const answers = stdout.split(/^(?=HTTP\/)/m).map(answer => answer.trim().split('\r\n\r\n'))
  t.equal(answers.length, 2, stdout)
  const [[head = '', body = ''] = [], [secondHead = '', secondBody = ''] = []] = answers
  t.match(head, /^HTTP\/1.1 200 OK/)
  t.match(JSON.parse(body), { amount: 1999, status: 'paid' })
  t.notMatch(head, 'idempotent-replayed')
  t.match(secondHead, /^HTTP\/1.1 200 OK[\s\S]*idempotent-replayed: true/)
  t.equal(secondBody, body)
})

t.test('the service prints the very commands that the README shows', async (t) => {
  t.ok(banner('http://127.0.0.1:3000').includes(commands[0]?.code ?? 'none'))
})
