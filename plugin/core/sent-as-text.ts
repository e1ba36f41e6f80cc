import type { KeptResponse } from '../store/store.ts'

/**
 * Marks a response whose body was text, as one of its removed headers. Hooks expect the body in the form in which it
 * was sent. And Node.js writes headers in the encoding of the text that it sends with them, or in Latin-1 if it sends
 * bytes. No header can have this name.
 */
export const SENT_AS_TEXT = ':text'

/** Whether the first answer's body was text. A record of version 0.1 does not show it. */
export function wasSentAsText (kept: KeptResponse['headers']): boolean {
  return kept.some(([name]) => name === SENT_AS_TEXT)
}
