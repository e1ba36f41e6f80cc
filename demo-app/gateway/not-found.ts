import { Problem } from '../problems.ts'

export function notFound (): never {
  throw new Problem(404, 'NOT_FOUND', 'There is no such number.')
}
