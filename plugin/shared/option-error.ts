/**
 * An option is not what it must be: an option of the plugin, of a route's `config.idempotency`, of the client, of the
 * metrics, of the tracing, of a journal or of a `MemoryStore`. An option of the plugin or of a route rejects
 * `app.ready()`. Any other option throws where the thing is made or called.
 */
export class IdempotencyOptionError extends TypeError {
  override name = 'IdempotencyOptionError'
  readonly code = 'FST_IDEMPOTENCY_OPTION_INVALID'
}
