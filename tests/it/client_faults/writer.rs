//! An app that edits at random through plain SQL and remembers what it wrote and what it had in view.

use std::collections::{BTreeSet, HashSet};

use colsync_tests::tables::id;
use colsync_tests::{Device, Server, clock};
use diesel::sql_types::{Nullable, Text};
use diesel::{QueryableByName, RunQueryDsl as _, SqliteConnection, sql_query};
use fastrand::Rng;
use serde_json::Value as Json;

use super::evidence;

/// The columns whose every written value is another one, so that each edit can be found again.
const MARKED: [&str; 2] = ["title", "note"];

/// What apps have done.
#[derive(Default)]
pub(super) struct Journal {
    /// Every value of a marked column that was written.
    pub(super) written: Vec<String>,
    /// Those that were in view when something was written in their place, or their row was deleted.
    seen: HashSet<String>,
    inserted: BTreeSet<String>,
    /// Rows that were deleted at some time.
    deleted: BTreeSet<String>,
    /// All that was written, with the row it was written to.
    told: Vec<(String, String)>,
}

/// An app with the table `todos`.
pub(super) struct Writer {
    number: u64,
    file: SqliteConnection,
    random: Rng,
    journal: Journal,
}

#[derive(QueryableByName)]
struct Todo {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Nullable<Text>)]
    title: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    note: Option<String>,
}

impl Writer {
    pub(super) fn new(number: u64, device: &Device, seed: u64) -> Writer {
        Writer {
            number,
            file: device.file(),
            random: Rng::with_seed(seed.wrapping_add(number)),
            journal: Journal::default(),
        }
    }

    pub(super) fn journal(self) -> Journal {
        self.journal
    }

    /// What was done to the row `id`, a line each.
    pub(super) fn told(&self, id: &str) -> Vec<String> {
        self.journal.about(id)
    }

    /// Makes, changes or deletes a row, in a transaction.
    pub(super) fn edit(&mut self) {
        self.execute("BEGIN IMMEDIATE");
        match self.random.u8(0..100) {
            0..10 => self.insert(),
            10..18 => self.delete(),
            18..26 => self.insert_again(),
            _ => self.update(),
        }
        self.execute("COMMIT");
    }

    fn insert(&mut self) {
        let id = id(self.number * 1_000_000 + self.journal.inserted.len() as u64);
        let (title, note) = (self.mark(), self.mark());
        let sql = format!(
            "INSERT INTO todos (id, title, note, priority) VALUES ('{id}', '{title}', '{note}', 0)"
        );
        self.write(&id, &[], &sql);
        self.journal.inserted.insert(id);
    }

    fn delete(&mut self) {
        if let Some(todo) = self.any_todo() {
            let (id, sql) = (todo.id.clone(), "DELETE FROM todos WHERE id = ");
            let todo = [todo];
            self.write(&id, &todo, &format!("{sql}'{id}'"));
            let [todo] = todo;
            self.journal.seen.extend(todo.title);
            self.journal.seen.extend(todo.note);
            self.journal.deleted.insert(todo.id);
        }
    }

    /// Writes a whole row in the place of one that was perhaps deleted here before.
    fn insert_again(&mut self) {
        let Some(id) = self.random.choice(self.journal.deleted.iter()).cloned() else {
            return;
        };
        let there = self.todos(&format!("WHERE id = '{id}'"));
        let (title, note) = (self.mark(), self.mark());
        let sql = format!(
            "INSERT OR REPLACE INTO todos (id, title, note) VALUES ('{id}', '{title}', '{note}')"
        );
        self.write(&id, &there, &sql);
        for todo in there {
            self.journal.seen.extend(todo.title);
            self.journal.seen.extend(todo.note);
        }
    }

    fn update(&mut self) {
        let Some(todo) = self.any_todo() else {
            return;
        };
        let mut changes = Vec::new();
        for (column, seen) in MARKED.iter().zip([&todo.title, &todo.note]) {
            if self.random.u8(0..3) == 0 {
                changes.push(format!("{column} = '{}'", self.mark()));
                self.journal.seen.extend(seen.clone());
            }
        }
        if self.random.bool() {
            changes.push("priority = coalesce(priority, 0) + 1".to_owned());
        }
        if self.random.u8(0..4) == 0 {
            changes.push("done = NOT done".to_owned());
        }
        if self.random.u8(0..4) == 0 {
            let number = self.random.u8(..);
            changes.push(format!(
                "data = '{{\"n\":{number},\"by\":[{}]}}'",
                self.number
            ));
        }
        if !changes.is_empty() {
            let changes = changes.join(", ");
            let (id, sql) = (todo.id.clone(), format!("UPDATE todos SET {changes}"));
            self.write(&id, &[todo], &format!("{sql} WHERE id = '{id}'"));
        }
    }

    fn mark(&mut self) -> String {
        let mark = format!("{}-{}", self.number, self.journal.written.len());
        self.journal.written.push(mark.clone());
        mark
    }

    fn any_todo(&mut self) -> Option<Todo> {
        let random = self.random.u32(..);
        let any =
            format!("ORDER BY id LIMIT 1 OFFSET {random} % max(1, (SELECT count(*) FROM todos))");
        self.todos(&any).pop()
    }

    fn todos(&mut self, which: &str) -> Vec<Todo> {
        sql_query(format!("SELECT id, title, note FROM todos {which}"))
            .load(&mut self.file)
            .unwrap()
    }

    fn execute(&mut self, sql: &str) {
        let done = sql_query(sql).execute(&mut self.file);
        done.unwrap_or_else(|refused| panic!("{sql}: {refused}"));
    }

    /// Writes the row `id`; `seen` is what stood in the file before.
    fn write(&mut self, id: &str, seen: &[Todo], sql: &str) {
        self.execute(sql);
        let seen = seen
            .iter()
            .map(|todo| format!("{:?}, {:?}", todo.title, todo.note));
        let seen: String = seen.collect();
        let at = clock::now_with(0);
        let told = format!("{at} app {}: {sql} -- had {seen}", self.number);
        self.journal.told.push((id.to_owned(), told));
    }
}

impl Journal {
    /// What several apps have done together.
    pub(super) fn of_all(journals: impl IntoIterator<Item = Journal>) -> Journal {
        let mut all = Journal::default();
        for one in journals {
            all.written.extend(one.written);
            all.seen.extend(one.seen);
            all.inserted.extend(one.inserted);
            all.deleted.extend(one.deleted);
            all.told.extend(one.told);
        }
        all
    }

    /// Ends the test unless everything that was written is accounted for on the server: each row that nobody
    /// deleted is there; each marked value is current, or was replaced by someone who saw it, or is in the
    /// ledger; and none is in the ledger twice.
    #[track_caller]
    pub(super) fn assert_kept(&self, server: &Server, devices: &[Device]) {
        let admin = server.admin();
        let rows = pages(|after| {
            let path = format!("/v1/tables/todos/rows?limit=1000&deleted=true{after}");
            let mut page = server.anonymous().get(&path).expect(200).json();
            (page["rows"].take(), page["next"].take())
        });
        let conflicts = pages(|after| {
            let path = format!("/admin/v1/conflicts?limit=1000{after}");
            let mut page = admin.get(&path).expect(200).json();
            (page["conflicts"].take(), page["next"].take())
        });
        let alive =
            server.column("SELECT CAST(id AS TEXT) FROM todos WHERE sync_deleted_at IS NULL");
        let alive: BTreeSet<String> = alive.into_iter().flatten().collect();
        let kept: BTreeSet<String> = self.inserted.difference(&self.deleted).cloned().collect();
        let gone: Vec<_> = kept.difference(&alive).collect();
        assert!(gone.is_empty(), "nobody deleted {gone:?}");
        let unknown: Vec<_> = alive.difference(&self.inserted).collect();
        assert!(unknown.is_empty(), "nobody made {unknown:?}");
        let mut found = self.seen.clone();
        rows.iter().for_each(|row| marks(row, &mut found));
        conflicts
            .iter()
            .for_each(|conflict| marks(&conflict["lost"], &mut found));
        let lost: Vec<_> = self
            .written
            .iter()
            .filter(|mark| !found.contains(*mark))
            .collect();
        if let Some(first) = lost.first() {
            self.tell(server, devices, first, &conflicts);
        }
        assert!(lost.is_empty(), "vanished without a trace: {lost:?}");
        let mut once = HashSet::new();
        for conflict in conflicts.iter().filter(|one| one["kind"] == "column") {
            let value = &conflict["lost"]["value"];
            let marked = MARKED.iter().any(|column| conflict["column"] == *column);
            assert!(
                !marked || value.is_null() || once.insert(value.to_string()),
                "an edit that was done twice: {conflict}"
            );
        }
        println!(
            "{} rows made, {} deleted, {} marked values, {} conflicts",
            self.inserted.len(),
            self.deleted.len(),
            self.written.len(),
            conflicts.len()
        );
    }
}

impl Journal {
    fn about(&self, id: &str) -> Vec<String> {
        let told = self.told.iter().filter(|(row, _)| row == id);
        told.map(|(_, told)| told.clone()).collect()
    }

    /// Prints everything there is about the row in which `mark` was written.
    fn tell(&self, server: &Server, devices: &[Device], mark: &str, conflicts: &[Json]) {
        let quoted = format!("'{mark}'");
        let Some((id, _)) = self.told.iter().find(|(_, told)| told.contains(&quoted)) else {
            return;
        };
        let mut about = self.about(id);
        about.sort();
        println!("the row in which {mark} was written: {about:#?}");
        for line in evidence::about(server, devices, id) {
            println!("{line}");
        }
        for conflict in conflicts.iter().filter(|one| one["row"] == **id) {
            println!("in the ledger: {conflict}");
        }
    }
}

/// All pages of a list.
fn pages(mut page: impl FnMut(&str) -> (Json, Json)) -> Vec<Json> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let (items, next) = page(&after);
        all.extend(items.as_array().unwrap().iter().cloned());
        match next.as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return all,
        }
    }
}

/// Every text within `json`.
fn marks(json: &Json, into: &mut HashSet<String>) {
    match json {
        Json::String(text) => drop(into.insert(text.clone())),
        Json::Array(items) => items.iter().for_each(|item| marks(item, into)),
        Json::Object(members) => members.values().for_each(|member| marks(member, into)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}
