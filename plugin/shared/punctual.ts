/**
 * Milliseconds: the largest delay of a timer in a process that is not busy. A longer delay shows that this process was
 * busy itself.
 */
export const PUNCTUAL = 5
