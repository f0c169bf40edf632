//! A column group is never a mixture: what is stored is what some client had as a whole.
//!
//! Every value is written once only, so that a mixture can be told from what a client had. What a client
//! had is known from how it edited, not from what the merge says of it.

use std::collections::BTreeSet;

use colsync_shared::merge::row::{self, RowMerge};
use colsync_shared::merge::{Cell, Own, Row, Side};
use colsync_shared::schema::BlindWrites;
use colsync_shared::{ClientId, ColumnEdit, Edit, Op, Policy, Stamp, Table, Value};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::making::{COLUMNS, client, common_base, config, table, time};

/// The group's columns; the third one is in none.
const MEMBERS: [usize; 2] = [1, 2];
const CLIENTS: usize = 3;

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
    /// A client edits these columns, sends the others of the group too if it is so minded, and takes in the
    /// receipt.
    Push(usize, Vec<usize>, bool, Told, i64),
    /// A program writes a member with SQL of its own, having looked at the row.
    Direct(usize, i64),
}

fn step(told: Vec<Told>) -> impl Strategy<Value = Step> {
    let columns = subsequence((1..=COLUMNS).collect::<Vec<_>>(), 1..=COLUMNS);
    let push = (0..CLIENTS, columns, any::<bool>(), select(told), 1..30_i64);
    prop_oneof![
        2 => (0..CLIENTS).prop_map(Step::Pull),
        6 => push.prop_map(|(by, columns, whole, told, at)| Step::Push(by, columns, whole, told, at)),
        1 => (select(MEMBERS.to_vec()), 1..30_i64).prop_map(|(at, when)| Step::Direct(at, when)),
    ]
}

fn any_group() -> impl Strategy<Value = Table> {
    let policies = select(vec![
        Policy::LastWriterWins,
        Policy::ServerWins,
        Policy::ClientWins,
        Policy::Manual,
    ]);
    (policies, any::<bool>()).prop_map(|(policy, record)| {
        let mut table = table(&[policy, policy, Policy::LastWriterWins]);
        for at in MEMBERS {
            table.columns[at].group = Some("g".to_owned());
        }
        if record {
            table.blind_writes = BlindWrites::Record;
        }
        table
    })
}

fn pair(row: &Row) -> [Value; 2] {
    MEMBERS.map(|at| row.cells[at].value.clone())
}

fn key(pair: &[Value; 2]) -> String {
    format!("{pair:?}")
}

fn in_ledger(merge: &RowMerge, at: usize, value: &Value) -> bool {
    merge.losses.iter().any(|loss| match &loss.lost {
        Side::Group(values) => values.contains(&(at, value.clone())),
        Side::Value(_) | Side::Alive(_) | Side::Deleted => false,
    })
}

/// Plays `steps`, and checks after each that the group is one that somebody had, if `whole` asks for it.
fn play(table: &Table, steps: Vec<Step>, whole: bool) -> Result<(), TestCaseError> {
    let mut row = common_base(true);
    let mut views = vec![row.clone(); CLIENTS];
    let mut had = BTreeSet::from([key(&pair(&row))]);
    let mut fresh = 100;
    for step in steps {
        match step {
            Step::Pull(by) => views[by] = row.clone(),
            Step::Direct(at, when) => {
                fresh += 1;
                row.version += 1;
                let stamp = Some(Stamp {
                    time: time(when),
                    client: ClientId::DIRECT_SQL,
                });
                row.cells[at] = Cell {
                    value: Value::Int(fresh),
                    stamp,
                    version: row.version,
                };
                had.insert(key(&pair(&row)));
            }
            Step::Push(number, columns, sends_whole, told, when) => {
                let by = client(u8::try_from(number).unwrap_or(u8::MAX));
                let mut local = views[number].clone();
                for &at in &columns {
                    fresh += 1;
                    local.cells[at].value = Value::Int(fresh);
                }
                had.insert(key(&pair(&local)));
                let touched = columns.iter().any(|at| MEMBERS.contains(at));
                let named = (1..=COLUMNS).filter(|at| {
                    columns.contains(at) || sends_whole && touched && MEMBERS.contains(at)
                });
                let has_base = matches!(told, Told::Base | Told::Both);
                let columns = named.map(|column| ColumnEdit {
                    column,
                    value: local.cells[column].value.clone(),
                    base: has_base.then(|| views[number].cells[column].value.clone()),
                    base_version: None,
                    at: time(when),
                });
                let edit = Edit {
                    unseen: Vec::new(),
                    key: None,
                    op: Op::Update,
                    base_version: matches!(told, Told::Version | Told::Both)
                        .then_some(local.version),
                    at: time(when),
                    columns: columns.collect(),
                };
                let merge = row::merge(&row, &edit, by, table, &Own::default());
                check(table, &row, &edit, &views[number], told, by, &merge)?;
                row = merge.row;
                views[number] = row.clone();
                if !whole {
                    had.insert(key(&pair(&row)));
                }
            }
        }
        prop_assert!(
            had.contains(&key(&pair(&row))),
            "nobody had {:?}",
            pair(&row)
        );
    }
    Ok(())
}

/// One outcome, one stamp and one version for the group, and what does not stand is in the ledger.
fn check(
    table: &Table,
    before: &Row,
    edit: &Edit,
    view: &Row,
    told: Told,
    by: ClientId,
    merge: &RowMerge,
) -> Result<(), TestCaseError> {
    let of_group = || merge.columns.iter().filter(|(at, _)| MEMBERS.contains(at));
    let Some((_, first)) = of_group().next() else {
        return Ok(());
    };
    for (_, merged) in of_group() {
        prop_assert_eq!(merged.outcome, first.outcome);
    }
    let [one, other] = MEMBERS.map(|at| &merge.row.cells[at]);
    if of_group().any(|(_, merged)| merged.changed) {
        prop_assert_eq!((one.stamp, one.version), (other.stamp, other.version));
        prop_assert_eq!(one.version, merge.row.version);
    }
    for sent in edit
        .columns
        .iter()
        .filter(|sent| MEMBERS.contains(&sent.column))
    {
        let stands = merge.row.cells[sent.column].value == sent.value;
        prop_assert!(
            stands || in_ledger(merge, sent.column, &sent.value),
            "a sent value vanished"
        );
    }
    let in_view = pair(before) == pair(view);
    let mine = MEMBERS.iter().all(|&at| {
        before.cells[at]
            .stamp
            .is_some_and(|stamp| stamp.client == by)
    });
    let trusted = told == Told::Nothing && (table.blind_writes == BlindWrites::Trust || mine);
    for at in MEMBERS {
        let value = &before.cells[at].value;
        let stands = merge.row.cells[at].value == *value;
        prop_assert!(
            stands || in_view || trusted || in_ledger(merge, at, value),
            "a replaced value vanished"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_group_is_always_one_that_some_client_had_as_a_whole(
        table in any_group(),
        steps in prop::collection::vec(step(vec![Told::Version, Told::Base, Told::Both]), 1..16),
    ) {
        play(&table, steps, true)?;
    }

    /// A bare write of a part of a group is taken as SQL would take it; but nothing vanishes by it either.
    #[test]
    fn nothing_of_a_group_vanishes(
        table in any_group(),
        steps in prop::collection::vec(
            step(vec![Told::Version, Told::Base, Told::Both, Told::Nothing]), 1..16,
        ),
    ) {
        play(&table, steps, false)?;
    }
}
