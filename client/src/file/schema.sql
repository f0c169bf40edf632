-- Colsync's own tables in the app's file. Plain SQL and no functions of ours, so that whoever opens the
-- file with any SQLite library sees them and writes through their triggers.

-- Names: format, client_id, server, push, cursor, schema, offset_us, schema_version, synced_at and others.
CREATE TABLE IF NOT EXISTS colsync_meta (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT
) WITHOUT ROWID;

-- The tracked tables. columns: the names of the captured columns, a JSON list. met: those that the server
-- has, too, as of the last pull. backfill: not null while the cursor covers a table that is to come whole once more.
CREATE TABLE IF NOT EXISTS colsync_tables (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    columns TEXT NOT NULL,
    met TEXT,
    backfill TEXT
);

-- What the app wrote, in order; nothing but that. A line is removed when the server has answered for it.
--   op 0: column_name changed from old to new.
--   op 1: the row was inserted. old: 1 where its id is one that the server had given it, and lost. new: 1 where SQLite
--   remembers that it has given the number before (AUTOINCREMENT), so that the app has named it.
--   op 2: the row was deleted; one line without a column, and one for each column with its old value.
--   op 3: as 2, of a row that an OR REPLACE was about to delete: whether it did, the table tells.
-- No constraint stands here: one would let each of the app's statements keep a journal of its own, to undo a
-- part of itself.
-- row_id: the key's value as it is stored; of several columns their texts, joined as on the wire. There, bytes are %x
-- and their digits, and a number in a column that keeps numbers and texts apart is %n and its digits.
CREATE TABLE IF NOT EXISTS colsync_log (
    seq INTEGER PRIMARY KEY,
    op INTEGER,
    table_number INTEGER,
    row_id,
    column_name TEXT,
    old,
    new,
    at_ms INTEGER
);

-- The server's version of a row, where it is not 1.
CREATE TABLE IF NOT EXISTS colsync_versions (
    table_number INTEGER NOT NULL,
    row_id NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (table_number, row_id)
) WITHOUT ROWID;

-- What the server sent of a row that the table cannot take yet: it has unpushed edits, or the table's own
-- constraints refuse it. body: JSON.
CREATE TABLE IF NOT EXISTS colsync_held (
    table_number INTEGER NOT NULL,
    row_id NOT NULL,
    body TEXT NOT NULL,
    reason TEXT,
    PRIMARY KEY (table_number, row_id)
) WITHOUT ROWID;

-- Pushes as they were sent, zstd. The one without a time has no answer yet. mode: how the edits are written.
CREATE TABLE IF NOT EXISTS colsync_pushes (
    push INTEGER PRIMARY KEY,
    mode TEXT NOT NULL,
    body BLOB NOT NULL,
    edits INTEGER NOT NULL,
    settled_at_ms INTEGER
);

-- The edits of the push without an answer. upto: the last line of the log that is in it.
CREATE TABLE IF NOT EXISTS colsync_sent (
    position INTEGER PRIMARY KEY,
    table_number INTEGER NOT NULL,
    row_id,
    upto INTEGER NOT NULL
);

-- Edits that the server refused, until the app has them retried or discards them. edit: JSON.
CREATE TABLE IF NOT EXISTS colsync_dead_letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    table_name TEXT NOT NULL,
    id TEXT NOT NULL,
    edit TEXT NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    field TEXT,
    at_ms INTEGER NOT NULL
);

-- What became of this client's edits where someone else had edited too. Values: JSON.
CREATE TABLE IF NOT EXISTS colsync_conflicts (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    table_name TEXT NOT NULL,
    id TEXT NOT NULL,
    column_name TEXT,
    outcome TEXT NOT NULL,
    base TEXT,
    mine TEXT,
    theirs TEXT,
    result TEXT,
    conflict TEXT,
    at_ms INTEGER NOT NULL
);

-- Rows that a pull from the beginning has brought; what it does not bring is gone from the server.
CREATE TABLE IF NOT EXISTS colsync_seen (
    table_number INTEGER NOT NULL,
    row_id NOT NULL,
    PRIMARY KEY (table_number, row_id)
) WITHOUT ROWID;
