-- The ledger's kind `group`: the columns of a group that were in conflict as one.
ALTER TABLE colsync_conflicts DROP CONSTRAINT colsync_conflicts_kind_check;
ALTER TABLE colsync_conflicts ADD CONSTRAINT colsync_conflicts_kind_check
    CHECK (kind IN ('column', 'group', 'deleted', 'row', 'blind', 'constraint'));
