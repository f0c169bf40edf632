-- CASCADE drops the triggers on adopted tables; their sync_* columns stay.
DROP FUNCTION colsync_bury_all() CASCADE;
DROP FUNCTION colsync_unbury() CASCADE;
DROP FUNCTION colsync_bury() CASCADE;
DROP FUNCTION colsync_stamp() CASCADE;
DROP FUNCTION colsync_row_id(text[], jsonb);
DROP TABLE colsync_meta;
DROP TABLE colsync_anchors;
DROP TABLE colsync_tombstones;
DROP TABLE colsync_requests;
DROP TABLE colsync_pushes;
DROP TABLE colsync_conflicts;
DROP TABLE colsync_clients;
DROP TABLE colsync_tables;
