-- The ledger's kind `group`: the columns of a group that were in conflict as one. SQLite cannot alter a CHECK,
-- so the table is made anew.
CREATE TABLE colsync_conflicts_before AS SELECT * FROM colsync_conflicts;
DROP TABLE colsync_conflicts;
CREATE TABLE colsync_conflicts (
    id TEXT NOT NULL PRIMARY KEY,
    table_name TEXT NOT NULL,
    row_id TEXT NOT NULL,
    column_name TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('column', 'group', 'deleted', 'row', 'blind', 'constraint')),
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
INSERT INTO colsync_conflicts SELECT * FROM colsync_conflicts_before;
DROP TABLE colsync_conflicts_before;
CREATE INDEX colsync_conflicts_row ON colsync_conflicts (table_name, row_id);
CREATE INDEX colsync_conflicts_state ON colsync_conflicts (state);
CREATE INDEX colsync_conflicts_created_at ON colsync_conflicts (created_at);
