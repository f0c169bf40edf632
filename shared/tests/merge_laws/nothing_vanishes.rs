//! No edited value vanishes: it is current, or merged into what is, or was replaced by an edit that
//! had seen it or by a trusted blind write, or is in the ledger.
//!
//! What an edit had in view is known from how it was made, not from what the merge says of it.

use colsync_shared::merge::row::{self, RowMerge};
use colsync_shared::merge::{Cell, Own, Side};
use colsync_shared::receipt::Outcome;
use colsync_shared::schema::BlindWrites;
use colsync_shared::{ClientId, ColumnEdit, Edit, Op, Policy, Stamp, Value};
use proptest::prelude::*;
use proptest::sample::select;

use crate::making::{
    COLUMNS, ROW_VERSION, any_table, any_value, client, common_base, config, edit_of, live_row,
    time,
};

/// What a client tells of what it had in view.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    Version,
    Base,
    Both,
    Nothing,
}

#[derive(Debug, Clone)]
enum Step {
    /// A client fetches the row.
    Pull(usize),
    /// A client pushes edits of columns: position, value, time.
    Push(usize, Vec<(usize, Value, i64)>, Told),
    /// A program writes a column with SQL of its own, having looked at it.
    Direct(usize, Value, i64),
}

const CLIENTS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let told = select(vec![
        Told::Version,
        Told::Version,
        Told::Base,
        Told::Both,
        Told::Nothing,
    ]);
    let edits = prop::collection::vec((1..=COLUMNS, any_value(), 0..20_i64), 1..4);
    prop_oneof![
        2 => (0..CLIENTS).prop_map(Step::Pull),
        6 => (0..CLIENTS, edits, told).prop_map(|(by, edits, told)| Step::Push(by, edits, told)),
        1 => (1..=COLUMNS, any_value(), 0..20_i64).prop_map(|(at, value, time)| Step::Direct(at, value, time)),
    ]
}

fn ledger_has(merge: &RowMerge, value: &Value) -> bool {
    merge
        .losses
        .iter()
        .any(|loss| loss.lost == Side::Value(value.clone()))
}

/// Checks one column of one merge: the edited value must be current, merged into what is, or in the
/// ledger; the value it replaced must have been in view, be the writer's own, be trusted away, or be
/// in the ledger.
fn check_nothing_vanished(
    before: &Cell,
    edit: &ColumnEdit,
    merge: &RowMerge,
    policy: Policy,
    in_view: bool,
    trusted: bool,
) -> Result<(), TestCaseError> {
    let after = &merge.row.cells[edit.column];
    let merged = matches!(policy, Policy::Max | Policy::Min);
    let outcome = merge.columns[0].1.outcome;
    match outcome {
        Outcome::Applied | Outcome::Unchanged => prop_assert_eq!(&after.value, &edit.value),
        Outcome::Merged => {
            prop_assert!(merged);
            prop_assert!([&before.value, &edit.value].contains(&&after.value));
        }
        Outcome::Superseded | Outcome::Held => {
            prop_assert_eq!(&after.value, &before.value);
            prop_assert!(ledger_has(merge, &edit.value), "the edited value vanished");
        }
    }
    let replaced = after.value != before.value;
    if replaced && !in_view && !trusted && outcome != Outcome::Merged {
        prop_assert!(
            ledger_has(merge, &before.value),
            "the replaced value vanished"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    /// Clients fetch, edit and push as they like, and what each had in view is known from what it
    /// fetched. A push is several edits from one base; the versions it makes are its own.
    #[test]
    fn no_edited_value_vanishes(table in any_table(), steps in prop::collection::vec(step(), 1..12)) {
        let mut row = common_base(true);
        let mut views = vec![row.clone(); CLIENTS];
        for step in steps {
            match step {
                Step::Pull(by) => views[by] = row.clone(),
                Step::Direct(at, value, when) => {
                    if row.cells[at].value != value {
                        row.version += 1;
                        let stamp = Some(Stamp { time: time(when), client: ClientId::DIRECT_SQL });
                        row.cells[at] = Cell { value, stamp, version: row.version };
                    }
                }
                Step::Push(number, edits, told) => {
                    let by = client(u8::try_from(number).unwrap_or(u8::MAX));
                    let view = views[number].clone();
                    let (mut own, mut made) = (Own::default(), Vec::new());
                    for (at, value, when) in edits {
                        let base = view.cells[at].value.clone();
                        let edit = ColumnEdit {
                            column: at,
                            value,
                            base: matches!(told, Told::Base | Told::Both).then_some(base.clone()),
                            base_version: None,
                            at: time(when),
                        };
                        let versioned = matches!(told, Told::Version | Told::Both);
                        let whole = Edit {
unseen: Vec::new(),
                            key: None,
                            op: Op::Update,
                            base_version: versioned.then_some(view.version),
                            at: time(when),
                            columns: vec![edit.clone()],
                        };
                        let before = row.cells[at].clone();
                        let merge = row::merge(&row, &whole, by, &table, &own);
                        let in_view = before.version == view.cells[at].version
                            || made.contains(&before.version)
                            || before.value == base;
                        let mine = before.stamp.is_some_and(|stamp| stamp.client == by);
                        let trusted = told == Told::Nothing
                            && before.stamp.is_some_and(|stamp| stamp.time <= time(when))
                            && (table.blind_writes == BlindWrites::Trust || mine);
                        let policy = table.columns[at].policy;
                        check_nothing_vanished(&before, &edit, &merge, policy, in_view, trusted)?;
                        own.merged(&whole, &merge);
                        if merge.columns[0].1.changed {
                            made.push(merge.row.version);
                        }
                        row = merge.row;
                    }
                }
            }
        }
    }

    /// A row that is deleted over edits unseen by the deleter is in the ledger with those edits; one
    /// that outlives its delete leaves the delete there.
    #[test]
    fn no_edit_vanishes_under_a_delete(
        table in any_table(), row in live_row(), base in 0..=ROW_VERSION, at in 0..20_i64, by in 0..3_u8,
    ) {
        let edit = Edit {
unseen: Vec::new(),
            key: None,
            op: Op::Delete,
            base_version: Some(base),
            at: time(at),
            columns: Vec::new(),
        };
        let merge = row::merge(&row, &edit, client(by), &table, &Own::default());
        if merge.row.deleted.value == Value::Bool(false) {
            prop_assert!(merge.losses.iter().any(|loss| loss.lost == Side::Deleted));
            return Ok(());
        }
        for (at, cell) in row.cells.iter().enumerate().skip(1) {
            let mine = cell.stamp.is_some_and(|stamp| stamp.client == client(by));
            if cell.version > base && !mine {
                let kept = merge.losses.iter().any(|loss| match &loss.lost {
                    Side::Alive(cells) => cells.contains(&(at, cell.value.clone())),
                    Side::Value(_) | Side::Group(_) | Side::Deleted => false,
                });
                prop_assert!(kept, "column {} vanished", at);
            }
        }
    }

    /// A whole row replaces what it had not seen only into the ledger, and a refused one goes there.
    #[test]
    fn no_value_vanishes_under_a_whole_row(
        table in any_table(), row in live_row(),
        edit in edit_of(Op::Replace, (1..=COLUMNS).collect()),
        base in 0..=ROW_VERSION, by in 0..3_u8,
    ) {
        let edit = Edit { base_version: Some(base), ..edit };
        let merge = row::merge(&row, &edit, client(by), &table, &Own::default());
        let lost = |at: usize, value: &Value| merge.losses.iter().any(|loss| match &loss.lost {
            Side::Alive(cells) => cells.contains(&(at, value.clone())),
            Side::Value(_) | Side::Group(_) | Side::Deleted => false,
        });
        for sent in &edit.columns {
            let before = &row.cells[sent.column];
            let after = &merge.row.cells[sent.column];
            prop_assert!(after.value == sent.value || lost(sent.column, &sent.value));
            let unseen = before.version > base;
            prop_assert!(after.value == before.value || !unseen || lost(sent.column, &before.value));
        }
    }
}
