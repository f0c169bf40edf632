//! Repeats: how a push or a request that comes again gets the answer it got, and changes nothing.
//!
//! The clients that can repeat are locked first, so that two copies of one push cannot pass each other.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use colsync_shared::{ClientId, Receipt, Time, step};

use super::archive;
use super::submission::{Accepted, Answer, Identity, Refusal, Submission};
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::internal::{self, ClientRow};

/// What answers a submission without merging it.
pub(super) enum Known {
    /// This.
    Answer(Answer),
    /// Whatever answers another submission of the batch, which it repeats.
    SameAs(usize),
}

/// The locked clients of a batch, with their push numbers as the batch goes on, and what is known of where they were.
pub(super) struct Repeats {
    clients: HashMap<ClientId, ClientRow>,
    /// Anchors of this database that the clients name.
    anchors: HashSet<String>,
}

impl Repeats {
    /// Locks the clients whose submissions can be repeats, in the order of their ids.
    pub(super) fn lock(conn: &mut Conn, batch: &[&Submission]) -> Result<Repeats, StoreError> {
        step::reach("push.begun");
        let repeatable = batch
            .iter()
            .filter(|submission| submission.identity != Identity::Bare);
        let ids: BTreeSet<ClientId> = repeatable.map(|submission| submission.client).collect();
        let mut repeats = Repeats {
            clients: HashMap::new(),
            anchors: HashSet::new(),
        };
        if ids.is_empty() {
            return Ok(repeats);
        }
        let ids: Vec<ClientId> = ids.into_iter().collect();
        let rows = internal::lock_clients(conn, &ids)?.into_iter();
        repeats.clients = rows
            .filter_map(|row| Some((row.id.parse().ok()?, row)))
            .collect();
        let named: BTreeSet<&String> = batch.iter().flat_map(|one| &one.anchors).collect();
        if !named.is_empty() {
            let named: Vec<String> = named.into_iter().cloned().collect();
            repeats.anchors = internal::known_anchors(conn, &named)?.into_iter().collect();
        }
        Ok(repeats)
    }

    /// The submission with what its client can have seen. If it has been where this database has not, that is nothing:
    /// the database was restored to an earlier state since, or the client was away for longer than anchors are kept.
    pub(super) fn as_seen<'a>(&self, submission: &'a Submission) -> Cow<'a, Submission> {
        let mut named = submission.anchors.iter();
        if named.all(|anchor| self.anchors.contains(anchor)) {
            Cow::Borrowed(submission)
        } else {
            Cow::Owned(submission.of_another_history())
        }
    }

    /// What answers `submission`, if it is not to be merged; `earlier` are those before it in the batch.
    pub(super) fn recognise(
        &mut self,
        conn: &mut Conn,
        submission: &Submission,
        earlier: &[&Submission],
    ) -> Result<Option<Known>, StoreError> {
        if submission.identity == Identity::Bare {
            return Ok(None);
        }
        let of_client = |other: &&Submission| other.client == submission.client;
        let same = |other: &&Submission| of_client(other) && other.identity == submission.identity;
        if let Some(position) = earlier.iter().position(same) {
            return Ok(Some(Known::SameAs(position)));
        }
        let refuse = |refusal: Refusal| Ok(Some(Known::Answer(Err(refusal))));
        let Some(client) = self.clients.get_mut(&submission.client) else {
            // The database was restored to before it knew the client; it will be noted again shortly.
            return refuse(Refusal::Busy);
        };
        let (known, hash, otherwise) = match &submission.identity {
            Identity::Bare => return Ok(None),
            Identity::Push { number, hash } => {
                if *number > client.last_push {
                    let expected = client.last_push + 1;
                    if *number != expected {
                        return refuse(Refusal::OutOfOrder { expected });
                    }
                    client.last_push = expected;
                    return Ok(None);
                }
                let known = internal::push(conn, submission.client, *number)?;
                (known, hash, Some(Refusal::Forked { number: *number }))
            }
            Identity::Request { key, hash } => {
                let reused = |other: &&Submission| {
                    of_client(other)
                        && matches!(&other.identity, Identity::Request { key: used, .. } if used == key)
                };
                if earlier.iter().any(reused) {
                    return refuse(Refusal::KeyReused);
                }
                (internal::request(conn, submission.client, key)?, hash, None)
            }
        };
        match (known, otherwise) {
            (Some(known), _) if known.hash == *hash => {
                let receipts = archive::unpack(&known.receipts)?;
                Ok(Some(Known::Answer(Ok(Accepted { receipts }))))
            }
            (_, Some(refusal)) => refuse(refusal),
            (Some(_), None) => refuse(Refusal::KeyReused),
            (None, None) => Ok(None),
        }
    }

    /// Keeps the answer of a submission that was merged.
    pub(super) fn remember(
        &mut self,
        conn: &mut Conn,
        submission: &Submission,
        receipts: &[Receipt],
        now: Time,
    ) -> Result<(), StoreError> {
        match &submission.identity {
            Identity::Bare => return Ok(()),
            Identity::Push { number, hash } => {
                internal::insert_push(
                    conn,
                    submission.client,
                    *number,
                    hash,
                    &archive::pack(receipts)?,
                    now,
                )?;
            }
            Identity::Request { key, hash } => {
                internal::insert_request(
                    conn,
                    submission.client,
                    key,
                    hash,
                    &archive::pack(receipts)?,
                    now,
                )?;
            }
        }
        if let Some(client) = self.clients.get_mut(&submission.client) {
            client.pushes += i64::from(matches!(submission.identity, Identity::Push { .. }));
            client.last_seen = submission.arrived.micros();
            client.skew = submission.skew.or(client.skew);
        }
        Ok(())
    }

    /// Writes the clients' push numbers back.
    pub(super) fn settle(self, conn: &mut Conn) -> Result<(), StoreError> {
        step::reach("push.receipts");
        for client in self.clients.values() {
            internal::update_client(conn, client)?;
        }
        Ok(())
    }
}
