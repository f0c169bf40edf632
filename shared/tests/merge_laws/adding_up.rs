//! The laws of the policies that make one value of both sides' edits: every order of arrival gives the same.

use colsync_shared::merge::{Own, row};
use colsync_shared::{ColumnEdit, ColumnType, Edit, Op, Policy, Value};
use proptest::prelude::*;
use proptest::sample::subsequence;
use serde_json::json;

use crate::making::{ROW_VERSION, client, common_base, config, table, time};

const ITEMS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// An edit of the first column after the key, from the base that all have.
fn edit(base: &Value, value: Value, at: i64) -> Edit {
    Edit {
        unseen: Vec::new(),
        key: None,
        op: Op::Update,
        base_version: Some(ROW_VERSION),
        at: time(at),
        columns: vec![ColumnEdit {
            column: 1,
            value,
            base: Some(base.clone()),
            base_version: None,
            at: time(at),
        }],
    }
}

fn list(items: &[&str]) -> Value {
    Value::Json(json!(items))
}

proptest! {
    #![proptest_config(config())]

    /// Clients count on their own from one base. Whatever order their edits arrive in, each once, the sum
    /// is the base and all that they counted.
    #[test]
    fn counters_add_up_in_every_order(
        base in -50..50_i64,
        counted in prop::collection::vec((-9..9_i64, 0..9_i64), 1..7)
            .prop_flat_map(|counted| Just(counted).prop_shuffle()),
    ) {
        let table = table(&[Policy::Counter; 3]);
        let mut now = common_base(true);
        now.cells[1].value = Value::Int(base);
        for (by, (added, at)) in counted.iter().enumerate() {
            let edit = edit(&Value::Int(base), Value::Int(base + added), *at);
            let merged = row::merge(&now, &edit, client(by as u8 % 3), &table, &Own::default());
            prop_assert!(merged.losses.is_empty());
            now = merged.row;
        }
        let sum: i64 = counted.iter().map(|(added, _)| added).sum();
        prop_assert_eq!(&now.cells[1].value, &Value::Int(base + sum));
    }

    /// Clients add to and take from one set on their own. Whatever order their edits arrive in, it has the
    /// same items.
    #[test]
    fn sets_have_the_same_items_in_every_order(
        base in subsequence(ITEMS.to_vec(), 0..=6),
        edited in prop::collection::vec(subsequence(ITEMS.to_vec(), 0..=6), 1..5)
            .prop_flat_map(|edited| Just(edited).prop_shuffle()),
    ) {
        let mut table = table(&[Policy::Set; 3]);
        table.columns[1].ty = ColumnType::Json;
        let mut now = common_base(true);
        now.cells[1].value = list(&base);
        for (by, items) in edited.iter().enumerate() {
            let edit = edit(&list(&base), list(items), by as i64);
            now = row::merge(&now, &edit, client(by as u8 % 3), &table, &Own::default()).row;
        }
        let in_the_end = |item: &&&str| {
            let added = edited.iter().any(|items| items.contains(*item));
            let removed = edited.iter().any(|items| !items.contains(*item));
            if base.contains(*item) { !removed } else { added }
        };
        let expect: Vec<&str> = ITEMS.iter().filter(in_the_end).copied().collect();
        let Value::Json(items) = &now.cells[1].value else {
            panic!("no set: {:?}", now.cells[1].value);
        };
        let items = items.as_array().into_iter().flatten();
        let mut items: Vec<&str> = items.filter_map(|item| item.as_str()).collect();
        items.sort_unstable();
        prop_assert_eq!(items, expect);
    }

    /// Clients change different members of one document on their own. Whatever order their edits arrive in, it
    /// has every change, and nothing lost.
    #[test]
    fn documents_take_changes_of_different_members_in_every_order(
        by in prop::collection::vec(prop::option::of(0..3_usize), ITEMS.len()),
        order in Just([0_usize, 1, 2]).prop_shuffle(),
    ) {
        let mut table = table(&[Policy::Json; 3]);
        table.columns[1].ty = ColumnType::Json;
        let document = |changed_by: &dyn Fn(Option<usize>) -> bool| {
            let members = ITEMS.iter().zip(&by).map(|(name, who)| {
                ((*name).to_owned(), json!({ "n": i32::from(changed_by(*who)), "deep": [1] }))
            });
            Value::Json(serde_json::Value::Object(members.collect()))
        };
        let base = document(&|_| false);
        let mut now = common_base(true);
        now.cells[1].value = base.clone();
        for (at, which) in order.iter().enumerate() {
            let edit = edit(&base, document(&|who| who == Some(*which)), at as i64);
            let merged = row::merge(&now, &edit, client(*which as u8), &table, &Own::default());
            prop_assert!(merged.losses.is_empty());
            now = merged.row;
        }
        prop_assert_eq!(&now.cells[1].value, &document(&|who| who.is_some()));
    }

    /// Clients change different words of one text on their own, never two side by side. Whatever order their
    /// edits arrive in, it has every change, and nothing lost.
    #[test]
    fn texts_take_changes_of_different_words_in_every_order(
        by in prop::collection::vec(prop::option::of(0..3_usize), ITEMS.len()),
        order in Just([0_usize, 1, 2]).prop_shuffle(),
    ) {
        let mut table = table(&[Policy::Text; 3]);
        table.columns[1].ty = ColumnType::Text { max_length: None };
        let text = |changed_by: &dyn Fn(Option<usize>) -> bool| {
            let words = ITEMS.iter().zip(&by).map(|(word, who)| match changed_by(*who) {
                true => format!("new-{word} between-{word}"),
                false => format!("{word} between-{word}"),
            });
            Value::Text(words.collect::<Vec<_>>().join(" "))
        };
        let base = text(&|_| false);
        let mut now = common_base(true);
        now.cells[1].value = base.clone();
        for (at, which) in order.iter().enumerate() {
            let edit = edit(&base, text(&|who| who == Some(*which)), at as i64);
            let merged = row::merge(&now, &edit, client(*which as u8), &table, &Own::default());
            prop_assert!(merged.losses.is_empty());
            now = merged.row;
        }
        prop_assert_eq!(&now.cells[1].value, &text(&|who| who.is_some()));
    }
}
