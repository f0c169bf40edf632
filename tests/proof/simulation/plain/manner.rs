//! How an API is made: as others are that are found in the wild.

use fastrand::Rng;

use super::parts::Resource;
use crate::simulation::plan::Table;
use crate::simulation::tables::Rule;

/// How an API does things.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) update: Update,
    /// Whether rows are made by POST, and not by PUT.
    pub(super) posts: bool,
    pub(super) times: Times,
    /// Whether it tells what changed since, and then what was deleted.
    pub(super) changes: bool,
    pub(super) pages: Pages,
    pub(super) answers: Answers,
    /// Whether it tells its clock.
    pub(super) dates: bool,
    pub(super) etags: Etags,
    /// Whether what it tells and takes is within an object: lists in `data`, rows in `item`.
    pub(super) wraps: bool,
    /// Whether writers have to tell the time of a change, which it then keeps.
    pub(super) asks_times: bool,
    /// Whether rows of this table get keys of its own, whatever they were sent with.
    pub(super) gives_keys: Option<Table>,
    /// Whether it writes titles in its own way.
    pub(super) edits: bool,
    /// Whether clients cannot change the body of notes: it is kept as it was, and they are told that all is well.
    pub(super) ignores: bool,
    /// Whether its lists are behind, for up to [`LAG`].
    pub(super) lags: bool,
    pub(super) deletes: Deletes,
    /// Whether it leaves out members that are NULL.
    pub(super) omits_nulls: bool,
    /// What it answers to a value that it does not take.
    pub(super) refuses_with: u16,
    /// What it makes of parts, which point to notes.
    pub(super) relations: Relations,
    /// Whether apps, too, take no label of a part twice.
    pub(super) is_unique_here: bool,
    /// What comes after the last page of a numbered list.
    pub(super) ends: Ends,
    /// Whether a list's ETag comes of its rows: after changes that are undone it is what it was.
    pub(super) hashes: bool,
}

/// What comes after the last page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    Empty,
    Null,
    /// No page, with this status.
    Refused(u16),
}

/// How it minds that rows point to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relations {
    /// Not at all.
    Loose,
    /// Rows point to rows that are there, which cannot be deleted then.
    Strict,
    /// With a row go those that point to it.
    Cascade,
    /// What points to a row points to nothing when it goes.
    Clear,
}

/// What the answer to a write has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    Nothing,
    /// The row's id.
    Id,
    Row,
}

/// What it tells and takes to say which state of a row is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Etags {
    Strong,
    /// It tells weak ones, and knows no conditions.
    Weak,
    /// It tells none, and knows no conditions.
    Not,
}

/// What becomes of a deleted row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deletes {
    /// It is not found.
    Gone,
    /// It is known to be gone.
    Known,
    /// It is not found, and nothing can be made in its place.
    Hidden,
    /// It is told as deleted, also in lists, and can be written again.
    Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Update {
    Put,
    MergePatch,
    Patch,
}

/// How a row tells when it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    Not,
    Text,
    Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pages {
    /// A list comes whole.
    Whole,
    Numbered,
    Linked,
}

/// Rows of a page.
pub(super) const PAGE: usize = 3;

/// Every so many pulls a whole list is asked for.
pub(super) const WHOLE_EVERY: usize = 4;

/// How far a list may be behind, µs.
pub(super) const LAG: i64 = 2_000_000;

impl Manner {
    /// That of a seed.
    pub(super) fn of(seed: u64) -> Manner {
        let mut random = Rng::with_seed(seed ^ 0x0a71);
        let times = *random
            .choice(&[Times::Not, Times::Text, Times::Millis])
            .unwrap();
        let posts = random.bool();
        let deletes = *random
            .choice(&[
                Deletes::Gone,
                Deletes::Known,
                Deletes::Hidden,
                Deletes::Told,
            ])
            .unwrap();
        let gives_keys = posts && random.u8(..4) == 0;
        let gives_keys = gives_keys.then(|| *random.choice(&Table::ALL).unwrap());
        Manner {
            update: *random
                .choice(&[Update::Put, Update::MergePatch, Update::Patch])
                .unwrap(),
            posts,
            times,
            changes: random.bool() && times != Times::Not,
            pages: *random
                .choice(&[Pages::Whole, Pages::Numbered, Pages::Linked])
                .unwrap(),
            answers: *random
                .choice(&[Answers::Nothing, Answers::Id, Answers::Row, Answers::Row])
                .unwrap(),
            dates: random.u8(..4) > 0,
            etags: *random
                .choice(&[Etags::Strong, Etags::Strong, Etags::Weak, Etags::Not])
                .unwrap(),
            wraps: random.bool(),
            asks_times: times != Times::Not && random.u8(..3) == 0,
            gives_keys,
            edits: random.u8(..4) == 0,
            ignores: random.u8(..4) == 0,
            lags: random.u8(..4) == 0,
            deletes,
            omits_nulls: random.u8(..3) == 0,
            refuses_with: *random.choice(&[400, 409, 413, 422]).unwrap(),
            relations: *random
                .choice(&[
                    Relations::Loose,
                    Relations::Strict,
                    Relations::Strict,
                    Relations::Cascade,
                    Relations::Clear,
                ])
                .unwrap(),
            is_unique_here: random.bool(),
            ends: *random
                .choice(&[
                    Ends::Empty,
                    Ends::Null,
                    Ends::Refused(404),
                    Ends::Refused(400),
                ])
                .unwrap(),
            hashes: random.bool(),
        }
    }

    /// What its users write of it, with parts or without.
    pub(super) fn description(&self, has_parts: bool) -> String {
        let of_tables = Resource::ALL.iter();
        let of_tables = of_tables.filter(|resource| has_parts || **resource != Resource::Parts);
        let of_tables: String = of_tables
            .map(|resource| self.of_resource(*resource))
            .collect();
        format!("url = 'http://api.test'\n{of_tables}")
    }

    fn of_resource(&self, resource: Resource) -> String {
        let name = resource.name();
        let list = match self.pages {
            Pages::Whole => format!("list = '/{name}'\n"),
            Pages::Numbered => {
                format!("list = '/{name}?page={{page}}&size={{limit}}'\nlimit = {PAGE}\n")
            }
            Pages::Linked => {
                format!("list = '/{name}?size={{limit}}'\nlimit = {PAGE}\nnext = 'Link'\n")
            }
        };
        let create = self.posts.then(|| format!("create = '/{name}'\n"));
        let update = match self.update {
            Update::Put => "put",
            Update::MergePatch => "merge-patch",
            Update::Patch => "patch",
        };
        let times = (self.times != Times::Not).then_some("updated_at = 'modified'\n");
        let form = match self.times {
            Times::Millis => "'ms'",
            _ => "true",
        };
        let asks_times = self
            .asks_times
            .then(|| format!("writes_updated_at = {form}\n"));
        let wraps = self.wraps.then_some("rows = '/data'\nrow = '/item'\n");
        let page = match self.pages {
            Pages::Numbered => "&page={page}",
            Pages::Whole | Pages::Linked => "",
        };
        let changes = self.changes.then(|| {
            format!(
                "changes = '/{name}/changes?since={{since}}{page}'\nwhole_every = {WHOLE_EVERY}\n"
            )
        });
        let tells_deletes = self.changes || self.deletes == Deletes::Told;
        let deleted = tells_deletes.then_some("deleted = 'deleted'\n");
        let of_table = match resource {
            Resource::Of(table) => merging(table),
            Resource::Parts => String::new(),
        };
        format!(
            "[tables.{name}]\nitem = '/{name}/{{id}}'\n{list}{}update = '{update}'\n{}{}{}{}{}{of_table}",
            create.unwrap_or_default(),
            times.unwrap_or_default(),
            asks_times.unwrap_or_default(),
            wraps.unwrap_or_default(),
            changes.unwrap_or_default(),
            deleted.unwrap_or_default(),
        )
    }
}

/// How a table merges.
fn merging(table: Table) -> String {
    let after = if table.revives() {
        "revive"
    } else {
        "keep_deleted"
    };
    let columns = table.columns().iter();
    let columns = columns.map(|column| {
        let policy = policy(column.rule);
        format!("{} = {{ policy = '{policy}' }}\n", column.name)
    });
    let (name, columns) = (table.name(), columns.collect::<String>());
    format!("edit_after_delete = '{after}'\n[tables.{name}.columns]\n{columns}")
}

fn policy(rule: Rule) -> &'static str {
    match rule {
        Rule::Later => "last_writer_wins",
        Rule::Server => "server_wins",
        Rule::Client => "client_wins",
        Rule::Greatest => "max",
        Rule::Least => "min",
        Rule::Count => "counter",
        Rule::Set => "set",
        Rule::Hold => "manual",
        Rule::Words => "text",
        Rule::Members => "json",
    }
}
