//! A server whose history is not this file's: it was restored to an earlier state, or the file was copied.
//!
//! What is to be done is noted in the file before it is begun, so that a sync that is cut goes on with it.

use colsync_shared::receipt::Status;

use super::session::Session;
use crate::error::Error;
use crate::file::Meta;
use crate::inbox::resync;
use crate::outbox::freeze::{self, Frozen};
use crate::outbox::letters;
use crate::remote::Trouble;

/// How often a sync makes its pushes fit a server that goes on changing its history.
const MOST_RESTARTS: usize = 3;

/// The position of a file whose versions are of a history that the server has lost: no server makes such a cursor.
const NOWHERE: &str = "nowhere";

impl Session<'_> {
    /// Where the file is in the feed, for the server to see whether it knows the place.
    pub(super) fn position(&mut self) -> Result<Option<String>, Error> {
        let cursor = self.file.meta(Meta::Cursor)?;
        let starts_over = cursor.is_none() && !resync::under_way(&mut self.file)?.is_empty();
        Ok(cursor.or_else(|| starts_over.then(|| NOWHERE.to_owned())))
    }

    /// Makes the numbers of pushes fit the server's again.
    pub(super) fn mend(&mut self, trouble: &Trouble) -> Result<(), Error> {
        self.note_lost(trouble)?;
        self.replay()
    }

    /// Notes what the server has lost. The file's rows are those of another history now.
    fn note_lost(&mut self, trouble: &Trouble) -> Result<(), Error> {
        let first = match trouble {
            Trouble::OutOfOrder { expected } => freeze::kept_from(&mut self.file, *expected)?
                .filter(|lost| !lost.is_empty())
                .map(|_lost| *expected),
            _ => None,
        };
        let Some(first) = first else {
            self.renew()?;
            return match trouble {
                Trouble::OutOfOrder { .. } => self.file.write(resync::begin),
                _ => Ok(()),
            };
        };
        log::warn!("the server has lost pushes from {first} on: sending them again");
        self.file.write(|file| {
            file.set_meta(Meta::Replay, Some(&first.to_string()))?;
            resync::begin(file)
        })
    }

    /// Sends the pushes again that the server had answered for and lost. The rows come with the pull after them.
    pub(super) fn replay(&mut self) -> Result<(), Error> {
        let mut restarts = 0;
        while let Some(number) = self.file.meta_int(Meta::Replay)? {
            self.go_on()?;
            let kept = freeze::kept_from(&mut self.file, number)?;
            let Some(push) = kept.and_then(|kept| kept.into_iter().next()) else {
                self.file.write(|file| file.set_meta(Meta::Replay, None))?;
                break;
            };
            match self.send_again(&push) {
                Ok(()) => {}
                Err(trouble @ (Trouble::Forked | Trouble::OutOfOrder { .. }))
                    if restarts < MOST_RESTARTS =>
                {
                    restarts += 1;
                    self.note_lost(&trouble)?;
                }
                Err(trouble) => return Err(trouble.into()),
            }
        }
        Ok(())
    }

    fn send_again(&mut self, push: &Frozen) -> Result<(), Trouble> {
        let compress = self.settings.compress;
        let answer = self
            .remote
            .push(self.client, push, Some(NOWHERE), compress)?;
        let edits = freeze::edits(push)?;
        let now = self.settings.clock.now();
        self.file.write(|file| {
            for (edit, receipt) in edits.iter().zip(&answer.receipts) {
                if receipt.status == Status::Rejected {
                    letters::add(file, edit, receipt, now)?;
                }
            }
            freeze::note_answer(file, push.number, now)?;
            file.set_meta(Meta::Replay, Some(&(push.number + 1).to_string()))
        })?;
        Ok(())
    }
}
