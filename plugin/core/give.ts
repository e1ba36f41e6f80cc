import type { Acquired, Contender } from './engine.ts'

/** Gives a contender its result, as soon as it is known. */
export function give (contender: Contender, acquired: Acquired | 'bypass' | Promise<Acquired>): void {
  if (!(acquired instanceof Promise)) return contender.acquired(acquired)
  acquired.then((acquired) => { contender.acquired(acquired) }, (error: unknown) => { contender.refused(error) })
}
