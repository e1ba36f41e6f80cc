/** A plugin that was tested together with this one. */
export interface Row {
  /** Its name after `@fastify/`, which is also the name of its test file. */
  name: string
  /** What a team that uses both plugins can rely on. */
  holds: string
  /** Which order of registration matters, and why; or which other choice matters. */
  order: string
}

/** Everything that README.md says under "Works with", with one plugin in each row, as its test file shows it. */
export const ROWS: Row[] = [
  {
    name: 'compress',
    holds: 'Each replay is encoded as its own client asks, streams too. A retry may compress its body otherwise ' +
      'than the first request did. What a handler compresses itself with `reply.compress()` is kept as it is, ' +
      'so leave that to the plugin\'s own hook.',
    order: 'any'
  },
  {
    name: 'cors',
    holds: 'A replay carries the CORS headers of its own origin, and a refusal carries them too. ' +
      'Preflights need no key. Let scripts read the outcome: ' +
      '`exposedHeaders: [\'idempotent-replayed\', \'retry-after\']`.',
    order: 'any; not with `hook: \'preSerialization\'`, which neither replays nor refusals pass through: ' +
      'they have the first answer\'s headers, or none'
  },
  {
    name: 'helmet',
    holds: 'Security headers are made anew, with a nonce of their own; what a route changes of them stays changed. ' +
      'Refusals have them too.',
    order: 'any'
  },
  {
    name: 'etag',
    holds: 'A replay has the first answer\'s ETag. A retry with a matching `If-None-Match` gets its 304, ' +
      'and the next one the whole answer.',
    order: '**after:** it then sees streams gathered, and a first answer that was a 304 is still kept in full'
  },
  {
    name: 'cookie',
    holds: 'A cookie that the handler set is never replayed, one that a hook sets is made anew. ' +
      'A signed cookie may be the `scope`.',
    order: 'any'
  },
  {
    name: 'session',
    holds: 'A replay changes no session, and sends its own session\'s cookie, not that of the first answer. ' +
      'Take the customer for the `scope`, not the session: a retry may come from another one.',
    order: 'any'
  },
  {
    name: 'secure-session',
    holds: 'As with `session`: what the first answer put into its cookie is handed to nobody else.',
    order: 'any'
  },
  {
    name: 'jwt',
    holds: 'Without a valid token nothing is claimed and nothing is replayed. ' +
      'A fresh token of the same subject is the same caller, with `scope: (request) => request.user.sub`.',
    order: 'any, verified in any hook'
  },
  {
    name: 'auth',
    holds: 'Nothing is claimed or replayed for a caller whom every strategy refuses. ' +
      'A retry may be let in by another strategy.',
    order: 'any, in any hook'
  },
  {
    name: 'rate-limit',
    holds: 'In `onRequest` (its default) and `preHandler` every request is charged, replays too, ' +
      'and what it refuses claims nothing. Spent in the handler ([below](#a-rate-limit-that-replays-do-not-pay)), ' +
      'replays are neither charged nor blocked.',
    order: 'any; where the limit is spent decides'
  },
  {
    name: 'multipart',
    holds: 'An upload is refused with a 415 on a route without a `fingerprint`, and works with one over its fields ' +
      'and files ([below](#uploads)).',
    order: 'any; the parts must be read before the handler, by `attachFieldsToBody` ' +
      'or `saveRequestFiles()` in a `preHandler`'
  },
  {
    name: 'formbody',
    holds: 'As it is: forms are compared by their fields, in any order.',
    order: 'any'
  },
  {
    name: 'under-pressure',
    holds: 'A request that is refused claims nothing and its retry runs. ' +
      'Replays are refused as well while the pressure lasts.',
    order: 'any'
  },
  {
    name: 'sensible',
    holds: 'Its errors are kept or released by their status, thrown or sent: ' +
      '`reply.badRequest()` is replayed, `reply.serviceUnavailable()` and `reply.tooManyRequests()` let the retry run.',
    order: 'any'
  },
  {
    name: 'redis',
    holds: '`redis: app.redis` as it is, also from a namespace or a child context. ' +
      'When the app closes, running requests are stored before the client is gone.',
    order: '**before:** the client must be there'
  },
  {
    name: 'http-proxy',
    holds: 'A gateway forwards once and replays, streamed answers included, if it reads bodies as bytes ' +
      '([below](#a-gateway)). Bodies that it would pass on as streams are refused with a 415.',
    order: '**after:** its routes are declared as it is registered; ' +
      'if it is too early, and something should be protected, the app does not start'
  },
  {
    name: 'reply-from',
    holds: 'As `http-proxy`. JSON that Fastify has parsed works as it is.',
    order: 'any'
  },
  {
    name: 'websocket',
    holds: 'Websocket routes are left alone, with `global: true` too.',
    order: 'any'
  },
  {
    name: 'sse',
    holds: 'Event streams of GET routes are left alone. On POST say `idempotency: false`; ' +
      'a protected one runs once, and its retry gets a 409 `FST_IDEMPOTENCY_NOT_REPLAYABLE`.',
    order: 'any'
  }
]

/** The table as it appears in README.md. */
export function table (versions: Record<string, string | undefined>): string {
  const rows = ROWS.map(
    ({ name, holds, order }) =>
      `| \`@fastify/${name}\` | ${versions[`@fastify/${name}`] ?? 'not installed'} | ${holds} | ${order} |`
  )
  return ['| plugin | tried | what holds | registered |', '| --- | --- | --- | --- |', ...rows].join('\n')
}
