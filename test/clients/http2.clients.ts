import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import type { Test } from 'tap'
import { until } from '../helper.ts'
import { startWorld } from '../processes/start.ts'
import { payInChromium } from './chromium.ts'
import { buildGo, curl, goEnvironment } from './command.ts'
import type { Pay } from './command.ts'
import { ownDirectory } from './daemon.ts'
import { startDropper } from './dropper.ts'
import { OPTIONS, seenToLeave, waited } from './one-run.ts'
import { pathOf } from './programs.ts'
import { startHaproxy, startNginx } from './proxies.ts'

const world = await startWorld(t)
const services = await Promise.all([world.start(OPTIONS), world.start(OPTIONS)])
const pem = await makeCertificate(t)
const tls = `ssl http2; ssl_certificate ${pem}; ssl_certificate_key ${pem};`
const PROXIES = {
  HAProxy: await startHaproxy(t, services, config => config.replace('bind :80', `bind :80 ssl crt ${pem} alpn h2`)),
  nginx: await startNginx(t, services, config => config.replace('listen 80;', `listen 80 ${tls}`))
}
const go = await buildGo(t)

/** The client pays once, and its connection breaks while the handler runs. What happens then is up to the client. */
async function payThroughBreak (t: Test, address: string, pay: Pay, again: Pay): Promise<void> {
  const key = randomUUID()
  let running: Buffer | null = null
  const { url, cutAll } = await startDropper(t, [address], async () => {
    if (running !== null) await seenToLeave(world, services, key, 1, running)
  })
  const secure = url.replace('http:', 'https:')
  const heldBefore = await waited(services)
  const first = pay(secure, key)
  await Promise.race([world.provider.asked(key), first])
  running = await world.record(key)
  cutAll()
  const answer = first.catch(() => again(secure, key))
  await Promise.race([until(async () => await waited(services) > heldBefore, 'the duplicate waiting', 60_000), answer])
  world.provider.answer(key)
  const { status, body } = await answer
  t.same({ status, charges: world.provider.charges(key) }, { status: 200, charges: 1 }, body)
}

for (const [name, { url }] of Object.entries(PROXIES)) {
  t.test(`Chromium over HTTP/2, behind ${name}: a connection breaks in the handler: one run, one 200`, async (t) => {
    await payThroughBreak(t, url, (url, key) => payInChromium(t, url, key), async () => {
      throw new Error('Chromium has not sent it again')
    })
  })

  // These two do not repeat by themselves what they sent over HTTP/2: their caller gets an error.
  for (const [client, pay] of Object.entries({ curl, Go: go })) {
    t.test(`${client} over HTTP/2, behind ${name}: its caller calls again: one run, one 200`, async (t) => {
      await payThroughBreak(t, url, pay, pay)
    })
  }
}

/** A certificate for 127.0.0.1 and its key, made by the program that comes with Go. */
async function makeCertificate (t: Test): Promise<string> {
  const directory = ownDirectory(t, 'certificate')
  const run = async (...args: string[]): Promise<string> => {
    const { stdout } = await promisify(execFile)(pathOf('go'), args, { cwd: directory, env: goEnvironment(directory) })
    return stdout.trim()
  }
  const program = join(await run('env', 'GOROOT'), 'src/crypto/tls/generate_cert.go')
  await run('run', program, '--host=127.0.0.1', '--ecdsa-curve=P256')
  const file = join(directory, 'both.pem')
  writeFileSync(file, ['cert.pem', 'key.pem'].map(name => readFileSync(join(directory, name), 'utf8')).join(''))
  return file
}
