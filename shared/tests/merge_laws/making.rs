//! Rows, edits and tables made at random, the same in every run. Knows no law.
//!
//! Values, times and clients come from small ranges, so that equal values, equal times and a
//! client's own cells are common.

use colsync_shared::merge::{Cell, Row, UNWRITTEN};
use colsync_shared::schema::{BlindWrites, EditAfterDelete};
use colsync_shared::{
    ClientId, Column, ColumnEdit, ColumnType, Edit, Op, Policy, RowPolicy, Stamp, Table, Time,
    Value,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, RngSeed};
use uuid::Uuid;

/// Columns beside the key, which is column 0.
pub const COLUMNS: usize = 3;
pub const ROW_VERSION: i64 = 5;

pub fn config() -> Config {
    Config {
        cases: 512,
        rng_seed: RngSeed::Fixed(4),
        failure_persistence: None,
        ..Config::default()
    }
}

pub fn client(number: u8) -> ClientId {
    ClientId(Uuid::from_u128(0x1000 + u128::from(number)))
}

pub fn time(at: i64) -> Time {
    Time::from_micros(at)
}

pub fn table(policies: &[Policy]) -> Table {
    let column = |policy| Column {
        name: String::new(),
        ty: ColumnType::Int { bits: 64 },
        nullable: true,
        has_default: false,
        policy,
        group: None,
        digits: None,
    };
    let columns = policies.iter().map(|&policy| column(policy));
    Table {
        name: "t".to_owned(),
        columns: std::iter::once(column(Policy::LastWriterWins))
            .chain(columns)
            .collect(),
        key: vec![0],
        row_policy: RowPolicy::default(),
        edit_after_delete: EditAfterDelete::default(),
        blind_writes: BlindWrites::default(),
        hard_delete: false,
    }
}

pub fn any_policy() -> impl Strategy<Value = Policy> {
    select(vec![
        Policy::LastWriterWins,
        Policy::ServerWins,
        Policy::ClientWins,
        Policy::Max,
        Policy::Min,
        Policy::Manual,
    ])
}

pub fn any_table() -> impl Strategy<Value = Table> {
    let rows = select(vec![
        RowPolicy::LastWriterWins,
        RowPolicy::ServerWins,
        RowPolicy::ClientWins,
    ]);
    let policies = prop::collection::vec(any_policy(), COLUMNS);
    (policies, rows, any::<bool>(), any::<bool>()).prop_map(
        |(policies, row_policy, revive, record)| Table {
            row_policy,
            edit_after_delete: if revive {
                EditAfterDelete::Revive
            } else {
                EditAfterDelete::KeepDeleted
            },
            blind_writes: if record {
                BlindWrites::Record
            } else {
                BlindWrites::Trust
            },
            ..table(&policies)
        },
    )
}

/// A table of last_writer_wins throughout.
pub fn lww_table() -> impl Strategy<Value = Table> {
    any_table().prop_map(|any| Table {
        row_policy: RowPolicy::LastWriterWins,
        edit_after_delete: any.edit_after_delete,
        blind_writes: any.blind_writes,
        hard_delete: false,
        ..table(&[Policy::LastWriterWins; COLUMNS])
    })
}

pub fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        4 => (0..4_i64).prop_map(Value::Int),
    ]
}

pub fn any_stamp() -> impl Strategy<Value = Option<Stamp>> {
    let known = (0..20_i64, 0..3_u8).prop_map(|(at, by)| Stamp {
        time: time(at),
        client: client(by),
    });
    prop::option::weighted(0.8, known)
}

pub fn cell(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Cell> {
    (value, any_stamp(), UNWRITTEN..=ROW_VERSION).prop_map(|(value, stamp, version)| Cell {
        value,
        stamp,
        version,
    })
}

pub fn any_row() -> impl Strategy<Value = Row> {
    let flag = cell(any::<bool>().prop_map(Value::Bool));
    let cells = prop::collection::vec(cell(any_value()), COLUMNS + 1);
    (flag, cells).prop_map(|(deleted, cells)| Row {
        version: ROW_VERSION,
        deleted,
        cells,
    })
}

pub fn live_row() -> impl Strategy<Value = Row> {
    any_row().prop_map(|mut row| {
        row.deleted.value = Value::Bool(false);
        row
    })
}

pub fn column_edit(column: usize) -> impl Strategy<Value = ColumnEdit> {
    let base_version = prop::option::weighted(0.2, 0..=ROW_VERSION);
    (
        any_value(),
        prop::option::weighted(0.3, any_value()),
        base_version,
        0..20_i64,
    )
        .prop_map(move |(value, base, base_version, at)| ColumnEdit {
            column,
            value,
            base,
            base_version,
            at: time(at),
        })
}

pub fn edit_of(op: Op, columns: Vec<usize>) -> impl Strategy<Value = Edit> {
    let base_version = prop::option::weighted(0.7, 0..=ROW_VERSION);
    let columns: Vec<_> = columns.into_iter().map(column_edit).collect();
    (columns, base_version, 0..20_i64).prop_map(move |(columns, base_version, at)| Edit {
        unseen: Vec::new(),
        key: None,
        op,
        base_version,
        at: time(at),
        columns,
    })
}

pub fn any_edit() -> impl Strategy<Value = Edit> {
    let ops = select(vec![Op::Update, Op::Insert, Op::Delete, Op::Replace]);
    let columns = subsequence((1..=COLUMNS).collect::<Vec<_>>(), 1..=COLUMNS);
    (ops, columns).prop_flat_map(|(op, columns)| match op {
        Op::Update | Op::Insert => edit_of(op, columns).boxed(),
        Op::Delete | Op::HardDelete => edit_of(op, Vec::new()).boxed(),
        Op::Replace => edit_of(op, (1..=COLUMNS).collect()).boxed(),
    })
}

/// The row that all saw: values 0, stamped at time 0 or not at all.
pub fn common_base(known: bool) -> Row {
    let cell = |value| Cell {
        value,
        stamp: known.then_some(Stamp {
            time: time(0),
            client: client(9),
        }),
        version: 1,
    };
    Row {
        version: ROW_VERSION,
        deleted: cell(Value::Bool(false)),
        cells: vec![cell(Value::Int(0)); COLUMNS + 1],
    }
}
