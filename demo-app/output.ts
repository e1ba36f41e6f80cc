/**
 * The output for the log. If it cannot be written (the terminal was closed, the disk is full, nobody reads it), the
 * payments must finish all the same. pino's own destination would wait for ever.
 */
export function standardOutput (): NodeJS.WriteStream {
  // Without a listener, an error ends the process.
  process.stdout.on('error', () => {})
  return process.stdout
}
