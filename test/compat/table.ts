/** A plugin that was tried together with this one. */
export interface Row {
  /** Its name after `@fastify/`, and that of its test file. */
  name: string
  /** What a team that uses both can rely on. */
  holds: string
  /** Whether the order of registration matters, or another choice, and why. */
  order: string
}

/** What docs/compatibility.md says under "Fastify plugins": one row for each plugin, as its test file shows it. */
export const ROWS: Row[] = [
  {
    name: 'compress',
    holds: 'Each replay is encoded as its own client asks, and streams are too. A retry may compress its body ' +
      'differently from the first request. What a handler compresses itself with `reply.compress()` is kept as it ' +
      'is, so leave compression to the hook of `compress`.',
    order: 'any'
  },
  {
    name: 'cors',
    holds: 'A replay has the CORS headers of its own origin, and so does a refusal. Preflight requests need no ' +
      'key. To let scripts read the outcome: `exposedHeaders: [\'idempotent-replayed\', \'retry-after\']`.',
    order: 'any; but not with `hook: \'preSerialization\'`, which replays and refusals do not pass through: a ' +
      'replay then has the headers of the first answer, and a refusal has none'
  },
  {
    name: 'helmet',
    holds: 'Each replay gets its own security headers, with its own nonce. What a route sets or removes of them is ' +
      'the same on its replays. Refusals have the headers too.',
    order: 'any'
  },
  {
    name: 'etag',
    holds: 'A replay has the ETag of the first answer. A retry with a matching `If-None-Match` gets a 304, and the ' +
      'next retry without it gets the whole answer.',
    order: '**after:** then it sees gathered streams, and a first answer that was a 304 is still kept in full'
  },
  {
    name: 'cookie',
    holds: 'A cookie that the handler set is never replayed. A cookie that a hook sets is set on each replay. A ' +
      'signed cookie can be the `scope`.',
    order: 'any'
  },
  {
    name: 'session',
    holds: 'A replay changes no session. It sends the cookie of its own session, not that of the first answer. Use ' +
      'the customer as the `scope`, not the session: a retry may come from another session.',
    order: 'any'
  },
  {
    name: 'secure-session',
    holds: 'As with `session`: nobody else gets what the first answer put into its cookie.',
    order: 'any'
  },
  {
    name: 'jwt',
    holds: 'Without a valid token nothing is claimed and nothing is replayed. With `scope: (request) => ' +
      'request.user.sub`, a new token of the same subject is the same caller.',
    order: 'any, verified in any hook'
  },
  {
    name: 'auth',
    holds: 'For a caller that every strategy refuses, nothing is claimed or replayed. Another strategy may admit a ' +
      'retry.',
    order: 'any, in any hook'
  },
  {
    name: 'rate-limit',
    holds: 'In `onRequest` (its default) and `preHandler` every request counts, replays too, and a request that it ' +
      'refuses claims nothing. If the handler spends the limit ([below](#a-rate-limit-that-replays-do-not-pay)), ' +
      'replays do not count and are not blocked.',
    order: 'any; what matters is where the limit is spent'
  },
  {
    name: 'multipart',
    holds: 'A route without a `fingerprint` refuses an upload with a 415. It works with a `fingerprint` over the ' +
      'fields and files ([below](#uploads)).',
    order: 'any; the parts must be read before the handler, with `attachFieldsToBody`, or with ' +
      '`saveRequestFiles()` in a `preHandler`'
  },
  {
    name: 'formbody',
    holds: 'Works as it is: forms are compared by their fields, in any order.',
    order: 'any'
  },
  {
    name: 'under-pressure',
    holds: 'A request that it refuses claims nothing, and its retry runs. While the pressure lasts it refuses ' +
      'replays as well.',
    order: 'any'
  },
  {
    name: 'sensible',
    holds: 'Its errors are kept or released by their status, whether they are thrown or sent: `reply.badRequest()` ' +
      'is replayed, `reply.serviceUnavailable()` and `reply.tooManyRequests()` let the retry run.',
    order: 'any'
  },
  {
    name: 'redis',
    holds: '`redis: app.redis` works as it is, also from a namespace or a child context. When the app closes, the ' +
      'outcomes of running requests are stored before the client is closed.',
    order: '**before:** the client must exist'
  },
  {
    name: 'http-proxy',
    holds: 'A gateway forwards once and replays, also streamed answers, if it reads bodies as bytes ' +
      '([below](#a-gateway)). A body that it would pass on as a stream is refused with a 415.',
    order: '**after:** its routes are declared when it is registered; if that is too early and a route should be ' +
      'protected, the app does not start'
  },
  {
    name: 'reply-from',
    holds: 'As with `http-proxy`. JSON that Fastify has parsed works as it is.',
    order: 'any'
  },
  {
    name: 'websocket',
    holds: 'Websocket routes are not protected, also with `global: true`.',
    order: 'any'
  },
  {
    name: 'sse',
    holds: 'Event streams of GET routes are not protected. On a POST route say `idempotency: false`: a protected ' +
      'one runs once, and its retry gets a 409 `FST_IDEMPOTENCY_NOT_REPLAYABLE`.',
    order: 'any'
  }
]

/** The table as it stands in docs/compatibility.md. */
export function table (versions: Record<string, string | undefined>): string {
  const rows = ROWS.map(
    ({ name, holds, order }) =>
      `| \`@fastify/${name}\` | ${versions[`@fastify/${name}`] ?? 'not installed'} | ${holds} | ${order} |`
  )
  return ['| plugin | tried | what holds | registered |', '| --- | --- | --- | --- |', ...rows].join('\n')
}
