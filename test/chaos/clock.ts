/** Milliseconds of the machine's monotonic clock, which is the same for all processes. */
export function clock (): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000
}
