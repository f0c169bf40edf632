-- What is known of an API that knows no sync; only in a file that syncs with one.

-- Names: identity (the API's), incarnation, position (the last change's place in the feed), first_version.
CREATE TABLE IF NOT EXISTS colsync_remote_state (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- The tables. etag: of the last whole list, while the rows are known as it told them. since: what to ask
-- for changes from. latest: the latest time that the last list told. pulls: since the last whole list. shape: which column
-- is which field.
CREATE TABLE IF NOT EXISTS colsync_remote_tables (
    name TEXT PRIMARY KEY NOT NULL,
    etag TEXT,
    since TEXT,
    latest TEXT,
    pulls INTEGER NOT NULL,
    shape TEXT NOT NULL
) WITHOUT ROWID;

-- The rows as the API last told them, or as this client last wrote them. position: where in the feed the row last
-- changed without this client's doing. body: JSON, values as on the wire. marks: JSON, who changed what and when.
CREATE TABLE IF NOT EXISTS colsync_remote_rows (
    table_name TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    body TEXT NOT NULL,
    marks TEXT NOT NULL,
    PRIMARY KEY (table_name, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS colsync_remote_feed ON colsync_remote_rows (table_name, position, id);

-- The edits of the push that is under way. begun: what is being written, JSON, noted before it is sent. receipt:
-- the answer, JSON, once it is done.
CREATE TABLE IF NOT EXISTS colsync_remote_writes (
    push INTEGER NOT NULL,
    number INTEGER NOT NULL,
    edit TEXT NOT NULL,
    begun TEXT,
    receipt TEXT,
    PRIMARY KEY (push, number)
) WITHOUT ROWID;
