import { unreadable } from './record-layout.ts'
import type { KeptResponse } from './store.ts'

type Headers = KeptResponse['headers']
type Header = Headers[number]

/**
 * Headers that most answers have. In version 2 each of them is a line of one character. Other releases read the records
 * too, so this table belongs to the version: it must not change without a new one.
 */
const FREQUENT: ReadonlyArray<readonly [line: string, header: Header]> = [
  ['t', [':text', null]],
  ['j', ['content-type', 'application/json; charset=utf-8']],
  ['a', ['content-type', 'application/json']],
  ['p', ['content-type', 'text/plain; charset=utf-8']]
]

const lineOf = new Map<string, Map<unknown, string>>()
for (const [line, [name, value]] of FREQUENT) {
  const lines = lineOf.get(name) ?? new Map<unknown, string>()
  lineOf.set(name, lines.set(value, line))
}

const headerOf = new Map(FREQUENT)

/**
 * One line for each value, `name:value`, and `:name` for a header that was removed.
 * @param shorten whether frequent headers become one character
 */
export function encodeHeaders (headers: Headers, shorten = true): string {
  let lines = ''
  for (const [name, value] of headers) {
    const short = shorten ? lineOf.get(name)?.get(value) : undefined
    if (short !== undefined) lines += `${short}\n`
    else if (value === null) lines += `:${escape(name)}\n`
    else if (typeof value === 'string') lines += `${escape(name)}:${escape(value)}\n`
    else for (const one of value) lines += `${escape(name)}:${escape(one)}\n`
  }
  return lines
}

export function decodeHeaders (lines: string): Headers {
  const headers: Headers = []
  if (lines === '') return headers
  for (const line of lines.split('\n')) {
    const frequent = headerOf.get(line)
    if (frequent !== undefined) {
      headers.push([frequent[0], frequent[1]])
      continue
    }
    const colon = line.indexOf(':')
    if (colon === -1) throw unreadable()
    const name = unescape(line.slice(0, colon))
    const value = unescape(line.slice(colon + 1))
    const last = headers.at(-1)
    if (name === '') headers.push([value, null])
    else if (last?.[0] !== name) headers.push([name, value])
    else if (Array.isArray(last[1])) last[1].push(value)
    else last[1] = [String(last[1]), value]
  }
  return headers
}

/**
 * Escapes line feeds. Node.js refuses to send a header with a line feed, but only after the header has been stored. The
 * line feed must not begin another header there.
 */
function escape (text: string): string {
  return /[\\\n]/.test(text) ? text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n') : text
}

function unescape (text: string): string {
  return text.includes('\\') ? text.replace(/\\(.)/g, (_, char) => char === 'n' ? '\n' : '\\') : text
}
