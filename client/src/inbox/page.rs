//! What of a pull is written in one transaction: the lines of rows, and the last checkpoint among them.
//!
//! Must not know the tables.

use super::line::{Change, Line};
use crate::error::Error;

/// A page is written at the first checkpoint after so many rows,
const ROWS: usize = 5_000;
/// or so many bytes,
const BYTES: usize = 4 << 20;
/// or with so many rows,
const MOST_ROWS: usize = 100_000;
/// or bytes, without a checkpoint: more than a server sends between two, unless a row is larger than it takes.
const MOST_BYTES: usize = 32 << 20;

/// Lines of a pull that have come and are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: Vec<u8>,
    rows: usize,
    /// Where to resume when the page is written.
    pub(crate) checkpoint: Option<String>,
    /// The text and the rows up to there.
    checked: (usize, usize),
    /// Whether nothing comes after it.
    pub(crate) complete: bool,
}

impl Page {
    /// Adds the line that `read` adds to the text; whether there was one.
    ///
    /// # Errors
    /// Those of `read`, and [`Error::Nonsense`] if the line is none of the protocol's, as far as it is read here.
    pub(crate) fn add<E: From<Error>>(
        &mut self,
        read: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let before = self.text.len();
        if !read(&mut self.text)? {
            return Ok(false);
        }
        match self.taken(before) {
            Ok(true) => {}
            Ok(false) => self.text.truncate(before),
            Err(nonsense) => {
                self.text.truncate(before);
                return Err(nonsense.into());
            }
        }
        Ok(true)
    }

    /// Whether the line that begins at `start` is a row's; otherwise what it says is noted.
    fn taken(&mut self, start: usize) -> Result<bool, Error> {
        let line = self.text.get(start..).unwrap_or_default();
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(false);
        }
        if !Line::is_row(line)
            && let Line::Checkpoint { cursor, complete } = Line::read(utf8(line)?)?
        {
            self.checkpoint = Some(cursor);
            self.complete = complete;
            self.checked = (start, self.rows);
            return Ok(false);
        }
        self.rows += 1;
        Ok(true)
    }

    /// Whether it is to be written before more is added.
    pub(crate) fn is_full(&self) -> bool {
        let ends_at_checkpoint = self.checkpoint.is_some() && self.checked.1 == self.rows;
        let (rows, bytes) = if ends_at_checkpoint {
            (ROWS, BYTES)
        } else {
            (MOST_ROWS, MOST_BYTES)
        };
        self.complete || self.rows >= rows || self.text.len() >= bytes
    }

    /// Leaves out the rows after the last checkpoint, which come again. Of what is visible there, the cursor says nothing.
    pub(crate) fn cut(&mut self) {
        let (text, rows) = self.checked;
        self.text.truncate(text);
        self.rows = rows;
    }

    /// The rows, in the order in which they came.
    ///
    /// # Errors
    /// [`Error::Nonsense`] if a line is none of the protocol's.
    pub(crate) fn changes(&self) -> Result<Vec<Change<'_>>, Error> {
        let mut changes = Vec::with_capacity(self.rows);
        for line in utf8(&self.text)?.split_terminator('\n') {
            match Line::read(line)? {
                Line::Row(change) => changes.push(change),
                Line::Checkpoint { .. } => {
                    return Err(Error::Nonsense("a checkpoint that is a row's".to_owned()));
                }
            }
        }
        Ok(changes)
    }
}

fn utf8(text: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(text)
        .map_err(|broken| Error::Nonsense(format!("a pull that is no text: {broken}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &[u8] = br#"{"table":"t","id":"1","version":1,"full":true,"columns":{"n":1}}"#;
    const CHECKPOINT: &[u8] = br#"{"complete":false,"checkpoint":"abc"}"#;

    fn add(page: &mut Page, line: &[u8]) -> Result<bool, Error> {
        page.add(|text| {
            text.extend_from_slice(line);
            text.push(b'\n');
            Ok(true)
        })
    }

    #[test]
    fn a_page_ends_at_the_first_checkpoint_after_enough_rows() {
        let mut page = Page::default();
        for _row in 0..ROWS {
            add(&mut page, ROW).unwrap();
            assert!(!page.is_full());
        }
        add(&mut page, b" ").unwrap();
        add(&mut page, CHECKPOINT).unwrap();
        assert!(page.is_full());
        assert_eq!(page.checkpoint.as_deref(), Some("abc"));
        assert_eq!(page.changes().unwrap().len(), ROWS);
    }

    #[test]
    fn a_page_without_a_checkpoint_ends_too() {
        let mut page = Page::default();
        let mut rows = 0;
        while !page.is_full() {
            add(&mut page, ROW).unwrap();
            rows += 1;
        }
        assert_eq!((rows, page.checkpoint), (MOST_ROWS, None));
    }

    #[test]
    fn a_page_of_many_bytes_ends_at_a_checkpoint() {
        let mut page = Page::default();
        let row = [ROW, vec![b' '; BYTES].as_slice()].concat();
        add(&mut page, &row).unwrap();
        assert!(!page.is_full());
        add(&mut page, CHECKPOINT).unwrap();
        assert!(page.is_full());
    }

    #[test]
    fn what_comes_after_the_last_checkpoint_is_not_in_a_page_that_is_cut() {
        let mut page = Page::default();
        for line in [ROW, CHECKPOINT, ROW, b" ", CHECKPOINT, ROW, ROW] {
            add(&mut page, line).unwrap();
        }
        assert_eq!(page.changes().unwrap().len(), 4);
        page.cut();
        assert_eq!(page.changes().unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_line_is_not_in_the_page() {
        let mut page = Page::default();
        add(&mut page, ROW).unwrap();
        add(&mut page, b"{}").unwrap_err();
        add(&mut page, b"\xff").unwrap_err();
        assert!(!page.add(|_end| Ok::<_, Error>(false)).unwrap());
        assert_eq!(page.changes().unwrap().len(), 1);
        add(&mut page, br#"{"table":"t","id":1}"#).unwrap();
        assert!(matches!(page.changes(), Err(Error::Nonsense(_))));
    }
}
