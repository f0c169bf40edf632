DROP INDEX colsync_conflicts_open;
CREATE INDEX colsync_conflicts_state ON colsync_conflicts (state);
CREATE INDEX colsync_conflicts_created_at ON colsync_conflicts (created_at);
