import { checkOptions } from '../shared/check-options.ts'

const DEFAULT_TABLE = 'idempotency_journal'
/**
 * One Postgres identifier, or two: schema and table. Postgres cuts identifiers off after 63 bytes without an error. The
 * name of the table's index needs some of these bytes.
 */
const NAME = /^(?:[a-z_][a-z0-9_$]{0,62}\.)?[a-z_][a-z0-9_$]{0,50}$/

/** The rule of the option `table`. */
export function aTableName (value: unknown): string | undefined {
  if (typeof value === 'string' && NAME.test(value)) return undefined
  return `a lower-case name such as "${DEFAULT_TABLE}" or "billing.${DEFAULT_TABLE}"`
}

/**
 * The name of the journal's table as SQL needs it: checked and quoted.
 * @throws {IdempotencyOptionError} if it is not a plain lower-case name, with or without a schema before it
 */
export function quotedTable (table = DEFAULT_TABLE): string {
  checkOptions('postgresJournal', { table: aTableName }, { table })
  return table.split('.').map(part => `"${part}"`).join('.')
}

/** The SQL that creates the journal's table, for a migration of the app. You can run it more than once. */
export function journalSchema (table?: string): string {
  return journalStatements(table).map(statement => `${statement};\n`).join('')
}

/** The same SQL as a list of statements. */
export function journalStatements (table?: string): string[] {
  const name = quotedTable(table)
  const index = name.slice(name.lastIndexOf('.') + 1).replace(/"$/, '_expires_at"')
  return [`CREATE TABLE IF NOT EXISTS ${name} (
  -- SHA-256 of the idempotency key and its scope: nothing of a customer is readable. It is unique, so that only one of
  -- all attempts of an operation can commit.
  id          bytea PRIMARY KEY CHECK (octet_length(id) = 32),
  -- SHA-256 of what makes two requests the same.
  fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
  attempt     integer NOT NULL,
  -- A random name of the run that this outcome belongs to.
  owner       text NOT NULL,
  status      smallint NOT NULL,
  -- Null, like the body, if the response was too large to be kept.
  headers     text,
  body        bytea,
  expires_at  timestamptz NOT NULL
)`, `CREATE INDEX IF NOT EXISTS ${index} ON ${name} (expires_at)`]
}
