//! How an API is made: as others are that are found in the wild.

use fastrand::Rng;

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
    /// Whether an answer to a write has the row.
    pub(super) tells_rows: bool,
    /// Whether it tells its clock.
    pub(super) dates: bool,
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

impl Manner {
    /// That of a seed.
    pub(super) fn of(seed: u64) -> Manner {
        let mut random = Rng::with_seed(seed ^ 0x0a71);
        let times = *random
            .choice(&[Times::Not, Times::Text, Times::Millis])
            .unwrap();
        Manner {
            update: *random
                .choice(&[Update::Put, Update::MergePatch, Update::Patch])
                .unwrap(),
            posts: random.bool(),
            times,
            changes: random.bool() && times != Times::Not,
            pages: *random
                .choice(&[Pages::Whole, Pages::Numbered, Pages::Linked])
                .unwrap(),
            tells_rows: random.bool(),
            dates: random.u8(..4) > 0,
        }
    }

    /// What its users write of it.
    pub(super) fn description(&self) -> String {
        let tables: String = Table::ALL
            .iter()
            .map(|table| self.of_table(*table))
            .collect();
        format!("url = 'http://api.test'\n{tables}")
    }

    fn of_table(&self, table: Table) -> String {
        let name = table.name();
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
        let changes = self.changes.then(|| {
            format!("changes = '/{name}/changes?since={{since}}'\ndeleted = 'deleted'\nwhole_every = 4\n")
        });
        let after = if table.revives() {
            "revive"
        } else {
            "keep_deleted"
        };
        let columns: String = table
            .columns()
            .iter()
            .map(|column| {
                format!(
                    "{} = {{ policy = '{}' }}\n",
                    column.name,
                    policy(column.rule)
                )
            })
            .collect();
        format!(
            "[tables.{name}]\nitem = '/{name}/{{id}}'\n{list}{}update = '{update}'\n{}{}\
             edit_after_delete = '{after}'\n[tables.{name}.columns]\n{columns}",
            create.unwrap_or_default(),
            times.unwrap_or_default(),
            changes.unwrap_or_default(),
        )
    }
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
