import { SANDBOX_API_KEY } from '../config.ts'
import { fraction, integer, LOG_LEVELS, oneOf, readSettings } from '../settings.ts'
import { explain } from '../explain.ts'
import { standardOutput } from '../output.ts'
import { closeWhenTold } from '../stop.ts'
import { buildGateway } from './app.ts'

/** Milliseconds. Whoever is kept waiting by a fault is let go at once. */
const SHUTDOWN_TIMEOUT = 10_000

/** The sandbox provider in a process of its own: `npm run gateway`. */
const settings = () => readSettings(process.env, read => ({
  host: read('HOST', '127.0.0.1', text => text, 'a host name or an IP address'),
  port: read('PORT', 4000, integer(0, 65_535), 'a port number, from 0 (any free one) to 65535'),
  apiKey: read('GATEWAY_API_KEY', SANDBOX_API_KEY, text => text, 'the key that merchants send'),
  logLevel: read('LOG_LEVEL', 'info', oneOf(...LOG_LEVELS), `one of ${LOG_LEVELS.join(', ')}`),
  seed: read('GATEWAY_SEED', 1, integer(0, 2 ** 32 - 1), 'a whole number below 2^32'),
  scale: read('NOTIFY_SCALE', 1, fraction(1), 'what the times of the schedule are multiplied by, from 0 to 1'),
  duplicates: read('NOTIFY_DUPLICATES', 0, fraction(1), 'a probability, from 0 to 1'),
  shuffleMs: read('NOTIFY_SHUFFLE_MS', 0, integer(0, 3_600_000), 'a number of milliseconds, from 0 to 3600000')
}))

try {
  const { host, port, apiKey, logLevel, seed, scale, duplicates, shuffleMs } = settings()
  const app = await buildGateway({ apiKey, seed, notify: { scale, duplicates, shuffleMs }, logger: { level: logLevel, stream: standardOutput() } })
  closeWhenTold(app.log, SHUTDOWN_TIMEOUT, () => app.close())
  await app.listen({ host, port })
} catch (error) {
  process.stderr.write(`Cannot start. ${explain(error)}\n`)
  process.exit(1)
}
