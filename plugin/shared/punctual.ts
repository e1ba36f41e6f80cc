/** Milliseconds by which a timer of an idle process is late at most. Later ones say that this process was busy itself. */
export const PUNCTUAL = 5
