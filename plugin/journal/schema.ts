const DEFAULT_TABLE = 'idempotency_journal'
/**
 * An identifier of Postgres, or two: schema and table. Those beyond 63 bytes would be cut off in silence; the table's
 * index needs a few of them too.
 */
const NAME = /^(?:[a-z_][a-z0-9_$]{0,62}\.)?[a-z_][a-z0-9_$]{0,50}$/

/**
 * The name of the journal's table as it stands in SQL: checked and quoted.
 * @throws {TypeError} if it is not a plain lower-case name, with or without a schema before it
 */
export function quotedTable (table = DEFAULT_TABLE): string {
  if (typeof table !== 'string' || !NAME.test(table)) {
    throw new TypeError(`postgresJournal: option "table" must be a lower-case name such as "${DEFAULT_TABLE}" or "billing.${DEFAULT_TABLE}", got ${JSON.stringify(table)}`)
  }
  return table.split('.').map(part => `"${part}"`).join('.')
}

/** What creates the journal's table, for a migration of yours. Safe to run again. */
export function journalSchema (table?: string): string {
  return journalStatements(table).map(statement => `${statement};\n`).join('')
}

/** The same, one statement at a time. */
export function journalStatements (table?: string): string[] {
  const name = quotedTable(table)
  const index = name.slice(name.lastIndexOf('.') + 1).replace(/"$/, '_expires_at"')
  return [`CREATE TABLE IF NOT EXISTS ${name} (
  -- SHA-256 of the idempotency key and its scope: nothing of a customer is readable. Unique, so that of all attempts
  -- of an operation one commits.
  id          bytea PRIMARY KEY CHECK (octet_length(id) = 32),
  -- SHA-256 of what makes two requests the same.
  fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
  attempt     integer NOT NULL,
  -- Which run's outcome it is: a name made up for it.
  owner       text NOT NULL,
  status      smallint NOT NULL,
  -- Null, like the body, if the response was too large to be kept.
  headers     text,
  body        bytea,
  expires_at  timestamptz NOT NULL
)`, `CREATE INDEX IF NOT EXISTS ${index} ON ${name} (expires_at)`]
}
