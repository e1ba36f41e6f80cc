/** What a journal in a Postgres table is asked, by statement. `table` is a quoted name. */
export interface Statements {
  /**
   * Values: those of `insert`, and whether it may do without a transaction. Answers `put`, the number of rows that were
   * written, and `open`, whether a transaction is.
   */
  put: string
  /** Makes an open transaction one that `put` recognises. */
  open: string
  /** Values: id. Answers `owner`. */
  holder: string
  /** Values: id, fingerprint, attempt, owner, status, headers, body, milliseconds to keep it for. */
  insert: string
  /** Values: id. */
  find: string
  /** Values: how many rows at most. Answers `purged`, how many it were. */
  purge: string
  /** Values: any id. Answers that `id`, and `replica`, whether the server is one. */
  check: string
}

/**
 * Times are compared with `statement_timestamp()`: with `clock_timestamp()`, which is another one for each row, no index
 * could be asked.
 */
export function statementsFor (table: string): Statements {
  const columns = 'id, fingerprint, attempt, owner, status, headers, body, expires_at'
  const values = `$1::bytea, $2::bytea, $3::integer, $4::text, $5::smallint, $6::text, $7::bytea,
      statement_timestamp() + $8::bigint * interval '1 millisecond'`
  // A transaction that has written has a number. One that is yet to write has none, and neither has a statement by itself.
  const isOpen = '($9::boolean OR txid_current_if_assigned() IS NOT NULL)'
  return {
    // A row that expired makes room for a new one; any other keeps the new one out. Nothing is read before it is written:
    // of a table that was read, a serializable transaction fails with whoever writes to it.
    put: `
    WITH put AS (
      INSERT INTO ${table} AS entry (${columns})
      SELECT ${values} WHERE ${isOpen}
      ON CONFLICT (id) DO UPDATE SET
        fingerprint = excluded.fingerprint, attempt = excluded.attempt, owner = excluded.owner, status = excluded.status,
        headers = excluded.headers, body = excluded.body, expires_at = excluded.expires_at
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
    // Several processes may purge at once: each skips what another has locked.
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
