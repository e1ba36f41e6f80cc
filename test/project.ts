import { resolve } from 'node:path'

/** The root of the project. */
export const PROJECT = resolve(import.meta.dirname, '..')
