//! The laws that the merge keeps, whatever the rows and the edits.
//!
//! Nothing here repeats the merge's rules. The laws that no value is lost in silence are in
//! [`nothing_vanishes`].

#![expect(
    clippy::indexing_slicing,
    reason = "an index out of range fails the test"
)]

mod adding_up;
mod groups;
mod making;
mod nothing_vanishes;

use colsync_shared::merge::{Own, Row, row};
use colsync_shared::receipt::Outcome;
use colsync_shared::{ClientId, ColumnEdit, Edit, Op, Stamp, Table, Value};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use making::{
    COLUMNS, ROW_VERSION, any_edit, any_row, any_table, client, common_base, config, edit_of,
    lww_table, time,
};

/// Values and stamps, without the versions that depend on the order of arrival.
fn content(row: &Row) -> Vec<(Value, Option<Stamp>)> {
    let cells = row.cells.iter().chain([&row.deleted]);
    cells.map(|cell| (cell.value.clone(), cell.stamp)).collect()
}

fn apply(table: &Table, mut row: Row, edits: &[(ClientId, Edit)]) -> Row {
    for (by, edit) in edits {
        row = row::merge(&row, edit, *by, table, &Own::default()).row;
    }
    row
}

proptest! {
    #![proptest_config(config())]

    /// A refused value is refused again, and says so again in the same words: that a push is merged
    /// once only is the business of its number, not of the merge.
    #[test]
    fn merging_twice_equals_once(
        table in any_table(), row in any_row(), edit in any_edit(), by in 0..3_u8,
    ) {
        let once = row::merge(&row, &edit, client(by), &table, &Own::default());
        let twice = row::merge(&once.row, &edit, client(by), &table, &Own::default());
        prop_assert_eq!(&twice.row, &once.row);
        prop_assert!(!twice.changed());
        for (at, merged) in &twice.columns {
            let applied = once.columns.iter().any(|(of, first)| of == at && first.outcome == Outcome::Applied);
            prop_assert!(!applied || merged.outcome == Outcome::Unchanged);
        }
        for loss in &twice.losses {
            prop_assert!(once.losses.contains(loss), "lost by the repeat only: {:?}", loss);
        }
    }

    /// Of two edits that both bring a deleted row back the first to arrive stamps the flag, so that
    /// its stamp is left out here; its value is not.
    #[test]
    fn edits_of_disjoint_columns_commute(
        table in any_table(), row in any_row(),
        (one, other) in subsequence((1..=COLUMNS).collect::<Vec<_>>(), 1..COLUMNS)
            .prop_flat_map(|of_one| {
                let of_other = (1..=COLUMNS).filter(|at| !of_one.contains(at)).collect();
                (edit_of(Op::Update, of_one), edit_of(Op::Update, of_other))
            }),
    ) {
        let one = (client(1), one);
        let other = (client(2), other);
        let forth = apply(&table, row.clone(), &[one.clone(), other.clone()]);
        let back = apply(&table, row, &[other, one]);
        prop_assert_eq!(&content(&forth)[..=COLUMNS], &content(&back)[..=COLUMNS]);
        prop_assert_eq!(forth.deleted.value, back.deleted.value);
    }

    #[test]
    fn columns_that_were_not_named_never_change(
        table in any_table(), row in any_row(), edit in any_edit(), by in 0..3_u8,
    ) {
        let merge = row::merge(&row, &edit, client(by), &table, &Own::default());
        for (at, cell) in row.cells.iter().enumerate() {
            if !edit.columns.iter().any(|named| named.column == at) {
                prop_assert_eq!(&merge.row.cells[at], cell);
            }
        }
    }

    #[test]
    fn a_row_has_a_new_version_exactly_if_something_changed(
        table in any_table(), row in any_row(), edit in any_edit(), by in 0..3_u8,
    ) {
        let merge = row::merge(&row, &edit, client(by), &table, &Own::default());
        let pairs = || merge.row.cells.iter().zip(&row.cells)
            .chain([(&merge.row.deleted, &row.deleted)]);
        let changed = pairs().any(|(after, before)| after.value != before.value);
        prop_assert_eq!(merge.changed(), changed);
        prop_assert_eq!(merge.row.version, row.version + i64::from(changed));
        for (after, before) in pairs() {
            let moved = after.value != before.value;
            prop_assert_eq!(after.version, if moved { row.version + 1 } else { before.version });
        }
    }

    #[test]
    fn stamps_never_go_backwards_under_last_writer_wins(
        table in lww_table(), row in any_row(), edit in any_edit(), by in 0..3_u8,
    ) {
        let merge = row::merge(&row, &edit, client(by), &table, &Own::default());
        let cells = merge.row.cells.iter().zip(&row.cells);
        for (after, before) in cells.chain([(&merge.row.deleted, &row.deleted)]) {
            prop_assert!(after.stamp >= before.stamp, "{:?} -> {:?}", before, after);
        }
    }
}

/// An edit from the row that all saw, with values that differ from what it saw, and later clocks.
///
/// - An edit made with a value in view is lifted past that value's stamp. Of two edits whose clocks
///   are behind what they saw only the first to arrive is lifted, so the order of arrival decides.
/// - An edit that writes back the value it saw changes nothing: it is `unchanged` if it arrives first
///   and a conflict if it arrives second.
/// - One client's edits arrive in the order in which it made them, so that each is of another client.
fn from_common_base(by: u8) -> impl Strategy<Value = (ClientId, Edit)> {
    let form = select(vec![
        (true, false),
        (false, true),
        (true, true),
        (false, false),
    ]);
    let columns = subsequence((1..=COLUMNS).collect::<Vec<_>>(), 1..=COLUMNS);
    (columns, form)
        .prop_flat_map(|(columns, form)| {
            let of_columns: Vec<_> = columns
                .into_iter()
                .map(|column| {
                    (1..4_i64, 1..10_i64).prop_map(move |(value, at)| ColumnEdit {
                        column,
                        value: Value::Int(value),
                        base: form.1.then_some(Value::Int(0)),
                        base_version: None,
                        at: time(at),
                    })
                })
                .collect();
            (of_columns, Just(form.0))
        })
        .prop_map(move |(columns, versioned)| {
            let edit = Edit {
                unseen: Vec::new(),
                key: None,
                op: Op::Update,
                base_version: versioned.then_some(ROW_VERSION),
                at: time(1),
                columns,
            };
            (client(by), edit)
        })
}

fn with_values_of_its_own(by: u8) -> impl Strategy<Value = (ClientId, Edit)> {
    from_common_base(by).prop_map(move |(client, mut edit)| {
        for column in &mut edit.columns {
            column.value = Value::Int(i64::from(by));
        }
        (client, edit)
    })
}

fn deletion(by: u8) -> impl Strategy<Value = (ClientId, Edit)> {
    (1..10_i64).prop_map(move |at| {
        let edit = Edit {
            unseen: Vec::new(),
            key: None,
            op: Op::Delete,
            base_version: Some(ROW_VERSION),
            at: time(at),
            columns: Vec::new(),
        };
        (client(by), edit)
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_schedule_of_last_writer_wins_edits_converges(
        table in lww_table(), known in any::<bool>(),
        (edits, shuffled) in (
            from_common_base(1), from_common_base(2), from_common_base(3), from_common_base(4),
        ).prop_map(|(a, b, c, d)| vec![a, b, c, d])
            .prop_flat_map(|edits| (Just(edits.clone()), Just(edits).prop_shuffle())),
    ) {
        let one = apply(&table, common_base(known), &edits);
        let other = apply(&table, common_base(known), &shuffled);
        prop_assert_eq!(content(&one), content(&other));
    }

    /// With deletes among them, every schedule ends with the same columns and the same answer to
    /// whether the row is there.
    ///
    /// No two clients write the same value here: an edit that finds its value beneath a tombstone
    /// changes nothing, so that it brings no row back, whereas before the delete it would have
    /// outlived it.
    #[test]
    fn every_schedule_with_deletes_converges(
        table in lww_table(),
        (edits, shuffled) in (
            with_values_of_its_own(1), with_values_of_its_own(2), deletion(3), deletion(4),
        ).prop_map(|(a, b, c, d)| vec![a, b, c, d])
            .prop_flat_map(|edits| (Just(edits.clone()), Just(edits).prop_shuffle())),
    ) {
        let one = apply(&table, common_base(true), &edits);
        let other = apply(&table, common_base(true), &shuffled);
        prop_assert_eq!(&content(&one)[..=COLUMNS], &content(&other)[..=COLUMNS]);
        prop_assert_eq!(one.deleted.value, other.deleted.value);
    }
}
