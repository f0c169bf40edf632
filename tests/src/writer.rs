//! An app that edits at random through plain SQL and remembers what it wrote and what it had in view.

use diesel::sql_types::{Nullable, Text};
use diesel::{Connection as _, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_query};
use fastrand::Rng;

use crate::journal::{Journal, MARKED};
use crate::tables::id;
use crate::{Device, clock};

/// An app with the table `todos`.
pub struct Writer {
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
    /// App `number` on `device`; what it writes follows from the seed and what it finds in the file.
    #[must_use]
    pub fn new(number: u64, device: &Device, seed: u64) -> Writer {
        Writer {
            number,
            file: device.file(),
            random: Rng::with_seed(seed.wrapping_add(number)),
            journal: Journal::default(),
        }
    }

    /// Values that it has written so far, each another one.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.journal.written.len() as u64
    }

    /// What it has done.
    #[must_use]
    pub fn journal(self) -> Journal {
        self.journal
    }

    /// Has `work` done to the device's file while the app does not run.
    pub fn away<T>(&mut self, device: &Device, work: impl FnOnce() -> T) -> T {
        self.file = SqliteConnection::establish(":memory:").unwrap();
        let done = work();
        self.file = device.file();
        done
    }

    /// What was done to the row `id`, a line each.
    #[must_use]
    pub fn told(&self, id: &str) -> Vec<String> {
        self.journal.about(id)
    }

    /// Makes, changes or deletes a row, in a transaction.
    ///
    /// # Panics
    /// If the file refuses it.
    pub fn edit(&mut self) {
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
