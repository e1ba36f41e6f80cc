/** Times that all parts of a run share, in milliseconds. They are short, so that faults are over soon. */
export const LEASE = 1_500

/** Of the apps' calls to the provider. */
export const PROVIDER_TIMEOUT = 1_000

/** The sweepers settle a payment that no client has worked on for this long. */
export const SWEEP_AFTER = 4_000

/**
 * The longest time that a link is stalled or Redis is frozen. It is longer than the plugin waits for Redis, which is a
 * second.
 */
export const LONGEST_STALL = 1_300

/** A stopped app continues when its lease is certainly over, since its last renewal was before the stop. */
export const STOPPED_FOR = LEASE + 700

/** How long a server that refuses does so, at least and at most: for less than a lease, and for longer than one. */
export const OUTAGES = {
  'for less than a lease': [200, LEASE * 0.7],
  'for longer than a lease': [LEASE + 300, LEASE + 700]
} as const

/**
 * How long the work takes during which such a server begins to refuse. The work ends while the server still refuses.
 */
export const WORK_STRUCK = 150

/** The number of characters of an answer that is not small. */
export const LARGE_ANSWER = 200_000

/** The duration of the work of a client that leaves while it waits. All waiters have left long before its end. */
export const LONG_WORK = LEASE + 300

/** The time between a client's departure and a run of its request: what was sent when it left may still arrive. */
export const LONGEST_AFTERMATH = 800

/** How long a client waits for an answer before it tries again. */
export const CLIENT_TIMEOUT = 5_000

/**
 * How long a person who pressed the button once looks at the screen, if nobody cuts the connection: until there is an
 * answer.
 */
export const PATIENCE = 60_000

/**
 * The last fault strikes with the last payment: each client must have its final answer within this time from then on.
 */
export const TIME_TO_FINISH = 60_000

/** How many payments run at once. */
export const CLIENTS = 96
