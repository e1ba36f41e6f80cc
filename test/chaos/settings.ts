/** Times that all parts of a run agree on, in milliseconds. Short, so that faults are over soon. */
export const LEASE = 1_500

/** Of the apps' calls to the provider. */
export const GATEWAY_TIMEOUT = 1_000

/** A payment that nobody has worked on for this long is settled by the sweepers. */
export const SWEEP_AFTER = 4_000

/** The longest that a link is stalled or Redis is frozen. Longer than the plugin waits for Redis, which is a second. */
export const LONGEST_STALL = 1_300

/** A stopped app goes on when its lease is over for certain, as it was renewed for the last time before. */
export const STOPPED_FOR = LEASE + 700

/** How long a client waits for an answer before it tries again. */
export const CLIENT_TIMEOUT = 5_000

/** With the last payment the last fault strikes: each client must have its final answer within this time from then on. */
export const TIME_TO_FINISH = 60_000

/** How many payments are under way at once. */
export const CLIENTS = 96
