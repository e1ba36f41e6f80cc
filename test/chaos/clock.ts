/** Milliseconds of the machine's monotonic clock, which all processes read alike. */
export function clock (): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000
}
