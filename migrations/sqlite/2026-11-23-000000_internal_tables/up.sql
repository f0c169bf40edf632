-- colsync's own tables. Times are microseconds since 1970, UUIDs and JSON are text, so that both
-- backends share one schema.

CREATE TABLE colsync_tables (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    adopted_at BIGINT NOT NULL
);

CREATE TABLE colsync_clients (
    id TEXT NOT NULL PRIMARY KEY,
    principal TEXT NOT NULL,
    name TEXT,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    skew BIGINT,
    last_push BIGINT NOT NULL DEFAULT 0,
    pulled_at BIGINT,
    pulled_to TEXT,
    pushes BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE colsync_conflicts (
    id TEXT NOT NULL PRIMARY KEY,
    table_name TEXT NOT NULL,
    row_id TEXT NOT NULL,
    column_name TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('column', 'deleted', 'row', 'blind', 'constraint')),
    policy TEXT NOT NULL,
    base TEXT,
    kept TEXT,
    lost TEXT,
    kept_time BIGINT,
    kept_client TEXT,
    lost_time BIGINT,
    lost_client TEXT,
    skew BIGINT,
    version BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'decided', 'resolved')),
    created_at BIGINT NOT NULL,
    decision TEXT,
    decided_at BIGINT,
    decided_value TEXT
);
CREATE INDEX colsync_conflicts_row ON colsync_conflicts (table_name, row_id);
CREATE INDEX colsync_conflicts_state ON colsync_conflicts (state);
CREATE INDEX colsync_conflicts_created_at ON colsync_conflicts (created_at);

-- What each push was answered, so that a repeat gets the same answer. Receipts are JSON under zstd.
CREATE TABLE colsync_pushes (
    client TEXT NOT NULL,
    number BIGINT NOT NULL,
    hash TEXT NOT NULL,
    receipts BLOB NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (client, number)
);

CREATE TABLE colsync_requests (
    client TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    hash TEXT NOT NULL,
    receipts BLOB NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (client, idempotency_key)
);

-- Rows that were hard-deleted. A row never stands both here and in its table.
CREATE TABLE colsync_tombstones (
    table_name TEXT NOT NULL,
    row_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    txid BIGINT NOT NULL,
    deleted_at BIGINT NOT NULL,
    client TEXT NOT NULL,
    PRIMARY KEY (table_name, row_id)
);
CREATE INDEX colsync_tombstones_feed ON colsync_tombstones (table_name, txid, row_id);

CREATE TABLE colsync_anchors (
    id TEXT NOT NULL PRIMARY KEY,
    horizon TEXT NOT NULL,
    recorded_at BIGINT NOT NULL
);
CREATE INDEX colsync_anchors_recorded_at ON colsync_anchors (recorded_at);

CREATE TABLE colsync_meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- The feed's position. Each write transaction of the server, and each row that other programs write,
-- moves it on. `writer_txid` is the position of the server's write transaction while one is open.
CREATE TABLE colsync_feed (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    txid BIGINT NOT NULL,
    writer_txid BIGINT NOT NULL
);
INSERT INTO colsync_feed (one, txid, writer_txid) VALUES (1, 1, 0);

-- Rows that an OR REPLACE may be about to delete: it fires no delete triggers. Noted before the write,
-- looked at after it; what is left over from a write that failed is looked at by the next one.
-- `parts` is the key as a JSON array, to find the row again. The row ('', '', ...) is the token of a
-- trigger that puts a version back.
CREATE TABLE colsync_replaced (
    table_name TEXT NOT NULL,
    row_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    parts TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (table_name, row_id)
);
