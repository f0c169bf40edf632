-- Fails while the ledger has entries of kind `group`, which earlier versions cannot read.
ALTER TABLE colsync_conflicts DROP CONSTRAINT colsync_conflicts_kind_check;
ALTER TABLE colsync_conflicts ADD CONSTRAINT colsync_conflicts_kind_check
    CHECK (kind IN ('column', 'deleted', 'row', 'blind', 'constraint'));
