/** The argument with which a Node.js process of a test runs TypeScript. */
export const IMPORT_TYPESCRIPT = `--import=${new URL('register.mjs', import.meta.url).href}`
