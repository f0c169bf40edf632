-- Adopted tables carry triggers that write to these tables: drop the triggers first, or every write
-- to an adopted table fails. SQLite cannot do it from here, as it does not know their names.
DROP TABLE colsync_replaced;
DROP TABLE colsync_feed;
DROP TABLE colsync_meta;
DROP TABLE colsync_anchors;
DROP TABLE colsync_tombstones;
DROP TABLE colsync_requests;
DROP TABLE colsync_pushes;
DROP TABLE colsync_conflicts;
DROP TABLE colsync_clients;
DROP TABLE colsync_tables;
