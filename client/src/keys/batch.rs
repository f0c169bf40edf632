//! The keys of a push that is being settled: all that the outbox needs to call.

use colsync_shared::receipt::{Receipt, Status};

use super::learn::{self, Learnt, LeftOut};
use super::{Links, Moved, number, way};
use crate::error::Error;
use crate::file::File;
use crate::outbox::edit::WireEdit;
use crate::outbox::fold::Folded;
use crate::outbox::freeze::{self, Frozen};
use crate::outbox::history::History;
use crate::pairing::Paired;
use crate::table::RowRef;

/// What the receipts of a push do to the ids of rows.
pub(crate) struct Batch<'a> {
    tables: &'a [Paired],
    links: Links,
    learnt: Learnt,
    /// The ids in the receipts, by position.
    made: Vec<Option<String>>,
    news: News,
}

/// What a settled push means for the rows that are still to be sent.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// How many rows got the server's id.
    pub(crate) learnt: u64,
    /// Whether columns are to follow, now that the ids that they point to are known.
    pub(crate) follows: bool,
    /// Rows that were given another local id.
    pub(crate) moved: Moved,
}

/// What an edit was sent without.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    id: bool,
    pub(crate) columns: Vec<LeftOut>,
}

impl<'a> Batch<'a> {
    /// Makes way for what the receipts bring. Rows of the push may be called otherwise afterwards.
    pub(crate) fn begin(
        file: &mut File,
        tables: &'a [Paired],
        rows: &[Folded],
    ) -> Result<Batch<'a>, Error> {
        let links = Links::read(file, tables)?;
        let sent = freeze::sent(file)?;
        let moved = way::for_receipts(file, tables, &links, &sent, rows)?;
        let receipts = rows.iter().map(|row| &row.receipt);
        let made =
            receipts.map(|receipt| receipt.id.clone().filter(|_| receipt.status == Status::Ok));
        Ok(Batch {
            tables,
            links,
            learnt: Learnt::new(),
            made: made.collect(),
            news: News {
                moved,
                ..News::default()
            },
        })
    }

    /// Takes from a receipt what is about ids: its edit gets the row's local one, and the receipt loses what the
    /// server made of columns that it was not sent.
    pub(crate) fn take(
        &mut self,
        file: &mut File,
        paired: &Paired,
        history: &History,
        upto: i64,
        edit: &mut WireEdit,
        receipt: &mut Receipt,
    ) -> Result<Missing, Error> {
        let links = &self.links;
        let columns = learn::without_left_out(file, links, paired, history, upto, edit, receipt)?;
        self.news.follows |= !columns.is_empty();
        let id = edit.id.is_none();
        if id {
            edit.id = Some(paired.shown_id(&history.row.id));
            if receipt.status == Status::Ok {
                self.news.learnt += 1;
                learn::note(&mut self.learnt, paired, &history.row, receipt)?;
            }
        }
        Ok(Missing { id, columns })
    }

    /// The row is not made: its edit is told as the app meant it, and the row gets an id that nobody makes.
    pub(crate) fn refused(
        &self,
        file: &mut File,
        paired: &Paired,
        row: &mut RowRef,
        edit: &mut WireEdit,
        missing: &Missing,
    ) -> Result<(), Error> {
        let mut columns = missing.columns.clone();
        if missing.id {
            let given_up = learn::give_up(file, self.tables, &self.links, row)?;
            // It may point to itself.
            let to_it = columns.iter_mut().filter(|column| {
                let target = self.links.target(row.table, column.at);
                target == Some(row.table) && number(&column.value) == number(&row.id.0)
            });
            to_it.for_each(|column| column.value = given_up.id.0.clone());
            *row = given_up;
            edit.id = Some(paired.shown_id(&row.id));
        }
        learn::put_back(paired, &columns, edit);
        Ok(())
    }

    /// Calls the rows by the server's ids, also in the push that is kept.
    pub(crate) fn finish(self, file: &mut File, frozen: &Frozen) -> Result<News, Error> {
        if !self.learnt.is_empty() {
            learn::learn(file, self.tables, &self.links, &self.learnt)?;
            let made = |at| self.made.get(at).cloned().flatten();
            freeze::name_made(file, frozen, made)?;
        }
        Ok(self.news)
    }
}
