import type { Try } from './history.ts'

/** The tries in which a violation was seen, as text. */
export function cite (tries: Try[]): string {
  const cited = ({ id, app, at, end, status, code, text }: Try): string =>
    `try ${id} (app ${app}, ${Math.round(end - at)} ms): ${status ?? 'no answer'} ${code ?? text.slice(0, 200)}`
  return tries.map(cited).join('; ')
}
