import type { Dispatcher } from 'undici'

export type HeaderRecord = Record<string, string | string[]>

/** Copies the request's headers into the one of undici's formats that all its interceptors understand. */
export function toRecord (headers: Dispatcher.DispatchOptions['headers']): HeaderRecord {
  const record: HeaderRecord = {}
  for (const [name, value] of entriesOf(headers)) {
    if (value === undefined) continue
    const before = record[name]
    record[name] = before === undefined ? copyOfList(value) : [before, value].flat()
  }
  return record
}

/** Copies a list. Returns any other value as it is. */
export function copyOfList<T> (value: T): T {
  return Array.isArray(value) ? [...value] as T : value
}

/** The value of a header, whatever the case of its name. */
export function findHeader (headers: Record<string, string | string[] | undefined>, name: string): string | null {
  const found = Object.entries(headers).find(([known]) => known.toLowerCase() === name)?.[1]
  return Array.isArray(found) ? found.join(', ') : found ?? null
}

/** Adds a header, in place of any header with the same name. */
export function withHeader (headers: HeaderRecord, name: string, value: string): HeaderRecord {
  const others = Object.entries(headers).filter(([known]) => known.toLowerCase() !== name)
  return { ...Object.fromEntries(others), [name]: value }
}

type Entry = [name: string, value: string | string[] | undefined]

function * entriesOf (headers: Dispatcher.DispatchOptions['headers']): Iterable<Entry> {
  if (headers === null || headers === undefined) return
  if (Array.isArray(headers) && !Array.isArray(headers[0])) {
    // The list contains names and values in turn.
    const flat = headers
    for (let index = 0; index + 1 < flat.length; index += 2) yield [flat[index] as string, flat[index + 1]]
  } else if (Symbol.iterator in headers) {
    yield * headers as Iterable<Entry>
  } else {
    yield * Object.entries(headers as Record<string, string | string[] | undefined>)
  }
}
