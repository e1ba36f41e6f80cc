import { levels } from 'pino'

/** The API key that the sandbox provider accepts by default. It is public. */
export const SANDBOX_API_KEY = 'sandbox-merchant-key'

const LOG_LEVELS = [...Object.keys(levels.values), 'silent']
const HOUR = 3_600_000

export interface Settings {
  host: string
  port: number
  apiKey: string
  logLevel: string
  seed: number
  notify: { scale: number, duplicates: number, shuffleMs: number }
}

/**
 * The settings of `npm run sandbox-provider`, from the environment.
 * @throws with one line for each variable that is wrong
 */
export function readSettings (env: NodeJS.ProcessEnv): Settings {
  const mistakes: string[] = []

  function read<T extends string | number> (
    name: string,
    byDefault: T,
    isValid: (value: T) => boolean,
    expected: string
  ): T {
    const text = env[name]?.trim() ?? ''
    if (text === '') return byDefault
    const value = (typeof byDefault === 'number' ? toNumber(text) : text) as T
    if (!isValid(value)) mistakes.push(`${name} must be ${expected}`)
    return value
  }

  const settings: Settings = {
    host: read('HOST', '127.0.0.1', () => true, 'a host name or an IP address'),
    port: read('PORT', 4000, integer(65_535), 'a port number from 0 (any free port) to 65535'),
    apiKey: read('PROVIDER_API_KEY', SANDBOX_API_KEY, () => true, 'the key that merchants send'),
    logLevel: read('LOG_LEVEL', 'info', level => LOG_LEVELS.includes(level), `one of ${LOG_LEVELS.join(', ')}`),
    seed: read('SANDBOX_SEED', 1, integer(2 ** 32 - 1), 'a whole number below 2^32'),
    notify: {
      scale: read('NOTIFY_SCALE', 1, isFraction, 'the factor for the times between notifications, from 0 to 1'),
      duplicates: read('NOTIFY_DUPLICATES', 0, isFraction, 'a probability from 0 to 1'),
      shuffleMs: read('NOTIFY_SHUFFLE_MS', 0, integer(HOUR), `a number of milliseconds from 0 to ${HOUR}`)
    }
  }
  if (mistakes.length > 0) throw new Error(`These settings cannot be used:\n${mistakes.join('\n')}`)
  return settings
}

/** `NaN` for all but decimal digits: `Number` also reads `1e3`, `0x10` and `-1`. */
function toNumber (text: string): number {
  return /^\d*\.?\d+$/.test(text) ? Number(text) : NaN
}

function integer (most: number) {
  return (value: number): boolean => Number.isInteger(value) && value <= most
}

function isFraction (value: number): boolean {
  return value <= 1
}
