/** The user name and the password of a URL. */
const CREDENTIALS = /:\/\/.*@/s

/** Shows a value that somebody wrote into the program, such as an option, in a message. Hides credentials in a URL. */
export function show (value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.replace(CREDENTIALS, '://…@'))
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  return typeof value === 'function' ? 'a function' : String(value)
}
