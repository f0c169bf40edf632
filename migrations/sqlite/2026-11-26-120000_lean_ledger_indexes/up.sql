-- Every conflict pays for the ledger's indexes. Entries are found by row, by id (which is in the order of time),
-- and the few that wait for a decision by their own.
DROP INDEX colsync_conflicts_state;
DROP INDEX colsync_conflicts_created_at;
CREATE INDEX colsync_conflicts_open ON colsync_conflicts (id) WHERE state = 'open';
