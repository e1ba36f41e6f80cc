/**
 * Where the log goes. That it cannot be written (the terminal was closed, the disk is full, nobody reads it any more) must
 * not keep payments from being finished: pino's own way of writing there waits for ever then.
 */
export function standardOutput (): NodeJS.WriteStream {
  // Without a listener an error would end the process.
  process.stdout.on('error', () => {})
  return process.stdout
}
