//! The merge, case by case. The cases are data, in `merge_cases.json`, which opens with a guide to
//! reading them; each says in its `why` what it is there for.
//!
//! Nothing here decides anything: the file's expectations are compared with what the merge gave, in
//! the file's own form, so that a failure can be read beside its case.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a case that cannot be read fails the test"
)]

use std::collections::{BTreeMap, BTreeSet};

use colsync_shared::merge::row::{self, RowMerge};
use colsync_shared::merge::{Cell, Loss, LossKind, Merged, Own, Row, Side};
use colsync_shared::receipt::Outcome;
use colsync_shared::schema::{BlindWrites, EditAfterDelete};
use colsync_shared::{
    ClientId, Column, ColumnEdit, ColumnType, Edit, Op, Policy, RowPolicy, Stamp, Table, Time,
    Value,
};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;
use uuid::Uuid;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "guide")]
    _guide: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    why: String,
    #[serde(default)]
    rules: RulesOf,
    current: CurrentRow,
    edit: EditOf,
    expect: Expect,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RulesOf {
    policy: Policy,
    row_policy: RowPolicy,
    edit_after_delete: EditAfterDelete,
    blind_writes: BlindWrites,
    group: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CurrentRow {
    version: i64,
    deleted: Option<CellOf>,
    title: Option<CellOf>,
    count: Option<CellOf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CellOf {
    value: Json,
    stamp: Option<String>,
    version: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditOf {
    op: OpOf,
    client: String,
    at: i64,
    base_version: Option<i64>,
    /// Versions that the push made before, and columns in which it left its own and another's value together.
    #[serde(default)]
    own: Vec<i64>,
    #[serde(default)]
    mixed: Vec<String>,
    /// Columns that it had not in view, whatever version it names.
    #[serde(default)]
    unseen: Vec<String>,
    #[serde(default)]
    columns: BTreeMap<String, ColumnOf>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum OpOf {
    Insert,
    Update,
    Delete,
    Replace,
    HardDelete,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnOf {
    value: Json,
    #[serde(default, deserialize_with = "present")]
    base: Option<Json>,
    base_version: Option<i64>,
    at: Option<i64>,
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Expect {
    version: i64,
    title: Option<MergedOf>,
    count: Option<MergedOf>,
    deleted: Option<MergedOf>,
    /// Stamps of columns that were not named and are stamped with their group.
    #[serde(default)]
    restamped: BTreeMap<String, Option<String>>,
    #[serde(default)]
    losses: Vec<LossOf>,
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct MergedOf {
    outcome: Outcome,
    value: Json,
    stamp: Option<String>,
    changed: bool,
}

#[derive(Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct LossOf {
    kind: String,
    #[serde(default, deserialize_with = "present")]
    base: Option<Json>,
    kept: Json,
    kept_stamp: Option<String>,
    lost: Json,
    lost_stamp: Option<String>,
    #[serde(default)]
    open: bool,
}

/// A member that is there, even if it is null.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(from).map(Some)
}

const TITLE: usize = 1;
const COUNT: usize = 2;
const CLIENTS: [(&str, u128); 6] = [
    ("anonymous", 0),
    ("direct_sql", 1),
    ("alice", 0x1001),
    ("bob", 0x1002),
    ("carol", 0x1003),
    ("setup", 0x1000),
];

fn client(name: &str) -> ClientId {
    let known = CLIENTS.iter().find(|(known, _)| *known == name);
    ClientId(Uuid::from_u128(known.expect("a known client").1))
}

fn stamp(text: &str) -> Stamp {
    let (name, time) = text.split_once('@').expect("client@time");
    Stamp {
        time: Time::from_micros(time.parse().expect("a time")),
        client: client(name),
    }
}

fn stamp_text(stamp: Stamp) -> String {
    let known = CLIENTS
        .iter()
        .find(|(name, _)| client(name) == stamp.client);
    format!(
        "{}@{}",
        known.expect("a known client").0,
        stamp.time.micros()
    )
}

fn ty(column: usize) -> ColumnType {
    match column {
        TITLE => ColumnType::Text { max_length: None },
        _ => ColumnType::Int { bits: 64 },
    }
}

fn value(column: usize, json: &Json) -> Value {
    if json.is_null() {
        return Value::Null;
    }
    ty(column)
        .decode(json)
        .expect("a value of the column's type")
}

fn table(rules: &RulesOf) -> Table {
    let column = |at: usize, name: &str| Column {
        name: name.to_owned(),
        ty: ty(at),
        nullable: true,
        has_default: false,
        policy: rules.policy,
        group: (rules.group && at != 0).then(|| "both".to_owned()),
        digits: None,
    };
    Table {
        name: "notes".to_owned(),
        columns: vec![
            column(0, "id"),
            column(TITLE, "title"),
            column(COUNT, "count"),
        ],
        key: vec![0],
        row_policy: rules.row_policy,
        edit_after_delete: rules.edit_after_delete,
        blind_writes: rules.blind_writes,
        hard_delete: false,
    }
}

fn row(current: &CurrentRow) -> Row {
    let cell = |written: Option<&CellOf>, default: Value, read: &dyn Fn(&Json) -> Value| {
        written.map_or(
            Cell {
                value: default,
                stamp: Some(stamp("setup@0")),
                version: 1,
            },
            |cell| Cell {
                value: read(&cell.value),
                stamp: cell.stamp.as_deref().map(stamp),
                version: cell.version,
            },
        )
    };
    let flag = |json: &Json| Value::Bool(json.as_bool().expect("true or false"));
    Row {
        version: current.version,
        deleted: cell(current.deleted.as_ref(), Value::Bool(false), &flag),
        cells: vec![
            cell(None, Value::Int(7), &|json| value(0, json)),
            cell(current.title.as_ref(), Value::Null, &|json| {
                value(TITLE, json)
            }),
            cell(current.count.as_ref(), Value::Null, &|json| {
                value(COUNT, json)
            }),
        ],
    }
}

fn edit(edit: &EditOf, table: &Table) -> Edit {
    let columns = edit.columns.iter().map(|(name, of)| {
        let column = table.position(name).expect("a column");
        ColumnEdit {
            column,
            value: value(column, &of.value),
            base: of.base.as_ref().map(|base| value(column, base)),
            base_version: of.base_version,
            at: Time::from_micros(of.at.unwrap_or(edit.at)),
        }
    });
    let mut columns: Vec<ColumnEdit> = columns.collect();
    columns.sort_by_key(|column| column.column);
    Edit {
        unseen: edit
            .unseen
            .iter()
            .filter_map(|name| table.position(name))
            .collect(),
        key: None,
        op: match edit.op {
            OpOf::Insert => Op::Insert,
            OpOf::Update => Op::Update,
            OpOf::Delete => Op::Delete,
            OpOf::Replace => Op::Replace,
            OpOf::HardDelete => Op::HardDelete,
        },
        base_version: edit.base_version,
        at: Time::from_micros(edit.at),
        columns,
    }
}

fn merged_of(merged: &Merged, json: Json) -> MergedOf {
    MergedOf {
        outcome: merged.outcome,
        value: json,
        stamp: merged.cell.stamp.map(stamp_text),
        changed: merged.changed,
    }
}

fn side(side: &Side, kind: LossKind, table: &Table) -> Json {
    match (side, kind) {
        (Side::Value(value), LossKind::Column(at) | LossKind::Blind(at)) => ty(at).encode(value),
        (Side::Value(value), LossKind::Group(_) | LossKind::Deleted | LossKind::Row) => {
            unreachable!("{value:?} is no row")
        }
        (Side::Deleted, _) => Json::from("deleted"),
        (Side::Alive(cells) | Side::Group(cells), _) => cells
            .iter()
            .map(|(at, value)| (table.columns[*at].name.clone(), ty(*at).encode(value)))
            .collect(),
    }
}

fn loss_of(loss: &Loss, table: &Table) -> LossOf {
    let kind = match loss.kind {
        LossKind::Column(at) => format!("column {}", table.columns[at].name),
        LossKind::Blind(at) => format!("blind {}", table.columns[at].name),
        LossKind::Group(at) => format!(
            "group {}",
            table.columns[at].group.as_deref().expect("a group")
        ),
        LossKind::Deleted => "deleted".to_owned(),
        LossKind::Row => "row".to_owned(),
    };
    LossOf {
        kind,
        base: loss.base.as_ref().map(|base| side(base, loss.kind, table)),
        kept: side(&loss.kept, loss.kind, table),
        kept_stamp: loss.kept_stamp.map(stamp_text),
        lost: side(&loss.lost, loss.kind, table),
        lost_stamp: loss.lost_stamp.map(stamp_text),
        open: loss.open,
    }
}

fn actual(merge: &RowMerge, table: &Table) -> Expect {
    let column = |wanted: usize| {
        let found = merge.columns.iter().find(|(at, _)| *at == wanted);
        found.map(|(at, merged)| merged_of(merged, ty(*at).encode(&merged.cell.value)))
    };
    let flag = merge.deleted.as_ref();
    Expect {
        version: merge.row.version,
        title: column(TITLE),
        count: column(COUNT),
        deleted: flag.map(|flag| merged_of(flag, ColumnType::Bool.encode(&flag.cell.value))),
        restamped: merge
            .restamped
            .iter()
            .map(|(at, cell)| (table.columns[*at].name.clone(), cell.stamp.map(stamp_text)))
            .collect(),
        losses: merge
            .losses
            .iter()
            .map(|loss| loss_of(loss, table))
            .collect(),
    }
}

/// What no case needs to say: the row holds what its columns' merges gave, a changed cell has the
/// row's new version, and everything else is as it was.
fn check_the_rest(before: &Row, merge: &RowMerge, table: &Table, name: &str) {
    let mut wanted = before.clone();
    wanted.version = merge.row.version;
    let flag = merge.deleted.iter().map(|merged| (None, merged));
    let columns = merge.columns.iter().map(|(at, merged)| (Some(*at), merged));
    for (at, merged) in flag.chain(columns) {
        let cell = match at {
            Some(at) => &mut wanted.cells[at],
            None => &mut wanted.deleted,
        };
        // The columns of a group get their version together.
        let grouped = at.is_some_and(|at| table.columns[at].group.is_some());
        let version = if merged.changed || grouped && merged.outcome == Outcome::Applied {
            before.version + 1
        } else {
            cell.version
        };
        *cell = Cell {
            version,
            ..merged.cell.clone()
        };
    }
    for (at, cell) in &merge.restamped {
        assert_eq!(cell.version, before.version + 1, "{name}: restamped");
        wanted.cells[*at].stamp = cell.stamp;
        wanted.cells[*at].version = cell.version;
    }
    assert_eq!(merge.row, wanted, "{name}: the row afterwards");
    for (_, merged) in &merge.columns {
        let told = merged
            .loss
            .as_ref()
            .is_none_or(|loss| merge.losses.contains(loss));
        assert!(told, "{name}: a column's loss is among the row's");
    }
    let flag = merge.deleted.as_ref();
    assert!(
        flag.is_none_or(|flag| flag.loss.is_none()),
        "{name}: a delete's loss is the row's, not the flag's"
    );
}

#[test]
fn every_case_of_the_merge_comes_out_as_written() {
    let file: File =
        serde_json::from_str(include_str!("merge_cases.json")).expect("readable cases");
    let mut names = BTreeSet::new();
    let mut failed = Vec::new();
    for case in &file.cases {
        assert!(
            names.insert(&case.name),
            "{}: two cases of one name",
            case.name
        );
        assert!(!case.why.is_empty(), "{}: no why", case.name);
        let table = table(&case.rules);
        let before = row(&case.current);
        let edit_of_row = edit(&case.edit, &table);
        let by = client(&case.edit.client);
        let mixed = case.edit.mixed.iter();
        let mixed = mixed.map(|name| table.position(name).expect("a column"));
        let own = Own::new(case.edit.own.clone(), mixed.collect());
        let merge = row::merge(&before, &edit_of_row, by, &table, &own);
        let got = actual(&merge, &table);
        if got != case.expect {
            failed.push(format!(
                "{}\n  why: {}\n  expected {:?}\n  got      {got:?}",
                case.name, case.why, case.expect
            ));
        }
        check_the_rest(&before, &merge, &table, &case.name);
    }
    assert!(
        failed.is_empty(),
        "{} of {} cases failed\n{}",
        failed.len(),
        file.cases.len(),
        failed.join("\n")
    );
}
