/** The SQL statements of a journal in a Postgres table. */
export interface Statements {
  /**
   * Values: those of `insert`, and whether the statement may run outside of a transaction. Returns `put`, the number of
   * rows that were written, and `open`, whether a transaction is open.
   */
  put: string
  /** Gives an open transaction a number, by which `put` recognises it. */
  open: string
  /** Values: id. Returns `owner`. */
  holder: string
  /** Values: id, fingerprint, attempt, owner, status, headers, body, milliseconds until the entry expires. */
  insert: string
  /** Values: id. */
  find: string
  /** Values: the largest number of rows to delete. Returns `purged`, the number of rows that were deleted. */
  purge: string
  /** Values: any id. Returns that `id`, and `replica`, whether the server is one. */
  check: string
}

/**
 * The statements compare times with `statement_timestamp()`. They cannot use `clock_timestamp()`, which has another
 * value for each row: Postgres could not use the index.
 * @param table a quoted name
 */
export function statementsFor (table: string): Statements {
  const columns = 'id, fingerprint, attempt, owner, status, headers, body, expires_at'
  const values = `$1::bytea, $2::bytea, $3::integer, $4::text, $5::smallint, $6::text, $7::bytea,
      statement_timestamp() + $8::bigint * interval '1 millisecond'`
  // A transaction has a number once it has written. Before that it has none, and neither has a statement outside of
  // one.
  const isOpen = '($9::boolean OR txid_current_if_assigned() IS NOT NULL)'
  return {
    // A new row replaces an expired one, and nothing else. The statement reads nothing before it writes: a serializable
    // transaction that has read a table fails if somebody else writes to this table.
    put: `
    WITH put AS (
      INSERT INTO ${table} AS entry (${columns})
      SELECT ${values} WHERE ${isOpen}
      ON CONFLICT (id) DO UPDATE SET
        fingerprint = excluded.fingerprint, attempt = excluded.attempt, owner = excluded.owner,
        status = excluded.status, headers = excluded.headers, body = excluded.body, expires_at = excluded.expires_at
      WHERE entry.expires_at <= statement_timestamp()
      RETURNING 1
    )
    SELECT (SELECT count(*) FROM put)::integer AS put, ${isOpen} AS open`,
    open: 'SELECT txid_current()',
    holder: `SELECT owner FROM ${table} WHERE id = $1::bytea`,
    insert: `INSERT INTO ${table} (${columns}) VALUES (${values})`,
    find: `
    SELECT fingerprint, attempt, owner, status, headers, body FROM ${table}
    WHERE id = $1::bytea AND expires_at > statement_timestamp()`,
    // Several processes may purge at the same time: each skips the rows that another has locked.
    purge: `
    WITH purged AS (
      DELETE FROM ${table} WHERE id IN (
        SELECT id FROM ${table} WHERE expires_at <= statement_timestamp()
        ORDER BY expires_at LIMIT $1::integer FOR UPDATE SKIP LOCKED
      ) RETURNING 1
    )
    SELECT count(*)::integer AS purged FROM purged`,
    check: `
    SELECT $1::bytea AS id, pg_is_in_recovery() AS replica, txid_current_if_assigned() AS needed,
      (SELECT count(*) FROM (SELECT ${columns} FROM ${table} WHERE id = $1::bytea) AS entry)::integer AS found`
  }
}
