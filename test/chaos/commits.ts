import pg from 'pg'

/*
 * Transactions that fail in the end: when they commit, after all statements of theirs were carried out. A constraint
 * that is checked then does that in Postgres, and so does a serialization failure; both are met here, by turns.
 */
const STATEMENTS = `
  CREATE TABLE chaos_effects (key text NOT NULL);
  CREATE TABLE chaos_commits (fail_until timestamptz NOT NULL);
  INSERT INTO chaos_commits VALUES ('-infinity');
  CREATE SEQUENCE chaos_failures;
  CREATE FUNCTION chaos_commit () RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF clock_timestamp() < (SELECT fail_until FROM chaos_commits) THEN
      IF nextval('chaos_failures') % 2 = 0 THEN
        RAISE EXCEPTION 'chaos: the commit fails' USING ERRCODE = 'serialization_failure';
      END IF;
      RAISE EXCEPTION 'chaos: the commit fails' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
  END $$;
  CREATE CONSTRAINT TRIGGER chaos_commit AFTER INSERT ON idempotency_journal
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION chaos_commit ()`

/** Call it after the apps have created their tables. */
export async function prepareCommits (databaseUrl: string): Promise<void> {
  await withClient(databaseUrl, client => client.query(STATEMENTS))
}

/** While `lasting` is pending, no transaction that writes to the journal commits. */
export async function failCommits (databaseUrl: string, lasting: () => Promise<void>): Promise<void> {
  await withClient(databaseUrl, async (client) => {
    await client.query("UPDATE chaos_commits SET fail_until = 'infinity'")
    await lasting()
    await client.query("UPDATE chaos_commits SET fail_until = '-infinity'")
  })
}

async function withClient (connectionString: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString })
  client.on('error', () => {})
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}
