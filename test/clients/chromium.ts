import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { gate } from '../helper.ts'
import { listen } from '../processes/listen.ts'
import type { Got } from './command.ts'
import { ownDirectory, startDaemon } from './daemon.ts'
import { pathOf } from './programs.ts'

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-extensions',
  '--ignore-certificate-errors'
]

/**
 * Opens the service's page in a Chromium of its own. The page opens this many connections and then calls `fetch` once.
 * Resolves to the result of that call: status 0 if it failed.
 */
export async function payInChromium (t: Test, url: string, key: string, { idle = 2 } = {}): Promise<Got> {
  const { opened: reported, open: report } = gate<Got>()
  const reports = await listen(t, createServer((request, response) => {
    void text(request).then((body) => {
      response.end()
      if (request.method === 'POST') report(JSON.parse(body) as Got)
    })
  }))
  const directory = ownDirectory(t, 'chromium')
  const page = `${url}/page?${new URLSearchParams({ key, idle: String(idle), report: reports }).toString()}`
  const flags = [...FLAGS, `--user-data-dir=${directory}`]
  startDaemon(t, pathOf('chromium'), [...flags, page], { ...process.env, HOME: directory })
  return await reported
}
