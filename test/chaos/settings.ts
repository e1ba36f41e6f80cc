/** Times that all parts of a run agree on, in milliseconds. Short, so that faults are over soon. */
export const LEASE = 1_500

/** Of the apps' calls to the provider. */
export const PROVIDER_TIMEOUT = 1_000

/** A payment that nobody has worked on for this long is settled by the sweepers. */
export const SWEEP_AFTER = 4_000

/** The longest that a link is stalled or Redis is frozen. Longer than the plugin waits for Redis, which is a second. */
export const LONGEST_STALL = 1_300

/** A stopped app goes on when its lease is over for certain, as it was renewed for the last time before. */
export const STOPPED_FOR = LEASE + 700

/** How long a server that refuses does so, at least and at most: for less than a lease, and for longer than one. */
export const OUTAGES = {
  'for less than a lease': [200, LEASE * 0.7],
  'for longer than a lease': [LEASE + 300, LEASE + 700]
} as const

/** How long the work takes during which such a server begins to refuse. It ends while the server still does. */
export const WORK_STRUCK = 150

/** Characters of an answer that is not small. */
export const LARGE_ANSWER = 200_000

/** The work of a client that leaves while it waits. All who wait have left by its end, and for long. */
export const LONG_WORK = LEASE + 300

/** Between a client's departure and a run of its request: what is on its way when it leaves may still arrive. */
export const LONGEST_AFTERMATH = 800

/** How long a client waits for an answer before it tries again. */
export const CLIENT_TIMEOUT = 5_000

/** How long who pressed once looks at the screen, if nobody cuts the connection: until there is an answer. */
export const PATIENCE = 60_000

/**
 * With the last payment the last fault strikes: each client must have its final answer within this time from then on.
 */
export const TIME_TO_FINISH = 60_000

/** How many payments are under way at once. */
export const CLIENTS = 96
