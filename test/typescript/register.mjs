import { register } from 'node:module'

/*
 * node --import=./test/typescript/register.mjs FILE.ts
 *
 * Runs TypeScript as the tests need it: each file is translated once, and the translation kept for all processes that
 * come after. It starts in half the time of a loader that is made for any project: here, an import says the whole name
 * of its file, all modules are ESM, and the syntax that is used is that of JavaScript with types.
 */
process.setSourceMapsEnabled(true)
register('./hooks.mjs', import.meta.url)
