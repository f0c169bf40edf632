//! The protocol as a machine: which steps can come next, and what each makes of the state.
//!
//! A sync goes up and then down: freeze, send, settle, ask, take. Between any two steps a client or the server may
//! crash, the app may write, and the network may lose, repeat or delay what is on its way. An answer comes on the
//! connection of its request, so that it is lost with it; a request may come long after its client has given up.
//!
//! Every step comes nearer to the end ([`Protocol::distance`]), so that there is no run that never ends: as faults and
//! edits are bounded, "in the end" is the same as "in every state without a next step".

use std::sync::Arc;

use stateright::{Model, Property};

use super::counts::{Counts, Kind};
use super::promises;
use super::state::{Answer, CLIENTS, COLUMNS, Made, Memory, State, value};
use super::wrong::Wrong;

/// Clocks that agree, and either client's far ahead.
pub(super) const CLOCKS: [[u8; CLIENTS]; 3] = [[0, 0], [20, 0], [0, 20]];

/// The protocol, with a bound to edits and faults.
#[derive(Clone)]
pub(super) struct Protocol {
    pub(super) edits: u8,
    pub(super) faults: u8,
    /// By how much each client's clock is ahead; several ways.
    pub(super) clocks: &'static [[u8; CLIENTS]],
    /// What is wrong with it, if anything is.
    pub(super) wrong: Option<Wrong>,
    /// How often what has happened, over all states.
    pub(super) counts: Arc<Counts>,
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A client's app writes to a column.
    Write { client: usize, column: usize },
    /// A client goes on with its sync: freezes, sends, asks, or writes the page that it has got.
    GoOn(usize),
    /// The server takes a client's request, commits, and answers.
    Serve(usize),
    /// A client hears the answer.
    Hear(usize),
    /// A push comes to the server for whose answer nobody waits any more.
    ServeLate(usize),
    /// Or it never comes.
    DropLate(usize),
    /// A server that has answered commits.
    Commit,
    /// The network loses a client's request or its answer, and the client hears that the connection broke.
    Lose(usize),
    /// The network brings a push twice.
    Repeat(usize),
    /// A client crashes, or gives up waiting. Its request is on its way still.
    Crash(usize),
    /// The server crashes: what is not committed is gone, and so is every request.
    CrashServer,
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let clocks = self.clocks.iter();
        clocks
            .map(|ahead| State::first(*ahead, self.edits, self.faults))
            .collect()
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for client in 0..CLIENTS {
            match &state.clients[client].memory {
                Memory::Idle if self.begins(state, client) => steps.push(Step::GoOn(client)),
                Memory::Idle => {}
                Memory::Pushing { .. } | Memory::Pulled(_) => steps.push(Step::GoOn(client)),
                Memory::Pushed { answer: None, .. } | Memory::Pulling { page: None } => {
                    steps.extend(is_up(state).then_some(Step::Serve(client)));
                }
                Memory::Pushed { .. } | Memory::Pulling { .. } => steps.push(Step::Hear(client)),
            }
            if state.edits_left > 0 {
                steps.extend((0..COLUMNS).map(|column| Step::Write { client, column }));
            }
        }
        for at in 0..state.late.len() {
            steps.extend(is_up(state).then_some(Step::ServeLate(at)));
            steps.push(Step::DropLate(at));
        }
        if state.uncommitted.is_some() {
            steps.push(Step::Commit);
        }
        if state.faults_left > 0 {
            faults(state, steps);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        self.take(&mut state, step);
        state.in_circles |= Protocol::distance(&state) >= Protocol::distance(last);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        promises::all()
    }
}

/// Whether the server takes requests: one that answers before it commits works on one at a time.
fn is_up(state: &State) -> bool {
    state.uncommitted.is_none()
}

/// What can go wrong now.
fn faults(state: &State, steps: &mut Vec<Step>) {
    let mut is_asked = !state.late.is_empty() || state.uncommitted.is_some();
    for (at, client) in state.clients.iter().enumerate() {
        match &client.memory {
            Memory::Idle => continue,
            Memory::Pushing { .. } | Memory::Pulled(_) => {}
            Memory::Pushed { answer: None, .. } => {
                steps.extend([Step::Lose(at), Step::Repeat(at)]);
                is_asked = true;
            }
            Memory::Pulling { page: None } => {
                steps.push(Step::Lose(at));
                is_asked = true;
            }
            Memory::Pushed { .. } | Memory::Pulling { .. } => steps.push(Step::Lose(at)),
        }
        steps.push(Step::Crash(at));
    }
    steps.extend(is_asked.then_some(Step::CrashServer));
}

impl Protocol {
    /// Whether a client that rests begins to sync.
    fn begins(&self, state: &State, client: usize) -> bool {
        let has_sent = state.clients[client].frozen.is_some();
        state.wants_to_sync(client) && !(has_sent && self.wrong == Some(Wrong::NeverRepeats))
    }

    fn take(&self, state: &mut State, step: Step) {
        match step {
            Step::Write { client, column } => self.write(state, client, column),
            Step::GoOn(client) => self.go_on(state, client),
            Step::Serve(client) => self.serve(state, client),
            Step::Hear(client) => self.hear(state, client),
            Step::ServeLate(at) => {
                let (client, push) = state.late.remove(at);
                if push.number <= state.database.last_push[client] {
                    self.counts.note(Kind::LateRepeat);
                }
                let before = state.clone();
                state.database.push(client, &push, self.wrong, &before);
            }
            Step::DropLate(at) => drop(state.late.remove(at)),
            Step::Commit => {
                if let Some(database) = state.uncommitted.take() {
                    state.database = *database;
                }
            }
            Step::Lose(client) => {
                self.fault(state, Kind::Lost);
                state.clients[client].memory = Memory::Idle;
            }
            Step::Repeat(client) => {
                self.fault(state, Kind::Repeated);
                send_late(state, client);
            }
            Step::Crash(client) => {
                self.fault(state, Kind::ClientCrashed);
                if matches!(
                    state.clients[client].memory,
                    Memory::Pushed { answer: None, .. }
                ) {
                    send_late(state, client);
                }
                state.clients[client].memory = Memory::Idle;
                if self.wrong == Some(Wrong::FrozenInMemory) {
                    state.clients[client].frozen = None;
                }
            }
            Step::CrashServer => {
                self.fault(state, Kind::ServerCrashed);
                state.uncommitted = None;
                state.late.clear();
                for client in &mut state.clients {
                    if let Memory::Pushed { answer: None, .. } | Memory::Pulling { page: None } =
                        client.memory
                    {
                        client.memory = Memory::Idle;
                    }
                }
            }
        }
    }

    fn fault(&self, state: &mut State, kind: Kind) {
        state.faults_left -= 1;
        self.counts.note(kind);
    }

    fn write(&self, state: &mut State, client: usize, column: usize) {
        state.edits_left -= 1;
        let it = &mut state.clients[client];
        if it.memory != Memory::Idle {
            self.counts.note(Kind::WrittenDuringASync);
        }
        let made = &mut state.made[client];
        made.push(Made {
            column,
            over: it.row[column],
        });
        let number = made.len();
        it.write(number as u8, column, value(client, number));
    }

    /// The client's next step that needs nobody else. A sync begins with looking at the log's last line.
    fn go_on(&self, state: &mut State, client: usize) {
        let ahead = state.ahead;
        let it = &mut state.clients[client];
        let upto = match &it.memory {
            Memory::Idle => it.last_seq(),
            Memory::Pushing { upto } => *upto,
            Memory::Pulled(page) => {
                let page = *page;
                if page.columns != [None; COLUMNS] && !it.log.is_empty() {
                    self.counts.note(Kind::PulledBesideEdits);
                }
                it.take(&page, self.wrong);
                let pulled_first = self.wrong == Some(Wrong::PullBeforeTheRepeat);
                it.memory = if pulled_first && it.frozen.is_some() {
                    Memory::Pushing { upto: 0 }
                } else {
                    Memory::Idle
                };
                return;
            }
            Memory::Pushed { .. } | Memory::Pulling { .. } => return,
        };
        let pulls_first = self.wrong == Some(Wrong::PullBeforeTheRepeat);
        if pulls_first && it.memory == Memory::Idle && it.frozen.is_some() {
            it.memory = Memory::Pulling { page: None };
            return;
        }
        let is_new = it.log.first().is_some_and(|line| line.seq <= upto);
        if let Some(push) = &mut it.frozen {
            if self.wrong == Some(Wrong::NewNumberAtARetry) && it.memory == Memory::Idle {
                push.number += 1;
            }
            it.memory = Memory::Pushed { upto, answer: None };
        } else if is_new {
            it.freeze(ahead);
            it.memory = Memory::Pushing { upto };
        } else {
            it.memory = Memory::Pulling { page: None };
        }
    }

    fn serve(&self, state: &mut State, client: usize) {
        let before = state.clone();
        let it = &mut state.clients[client];
        match &mut it.memory {
            Memory::Pushed { answer, .. } => {
                let Some(push) = it.frozen else { return };
                if push.number <= before.database.last_push[client] {
                    self.counts.note(Kind::RepeatAnswered);
                }
                let mut database = before.database.clone();
                *answer = Some(database.push(client, &push, self.wrong, &before));
                if database.ledger != before.database.ledger {
                    self.counts.note(Kind::ConflictDecided);
                }
                if self.wrong == Some(Wrong::AnswerBeforeCommit) {
                    state.uncommitted = Some(Box::new(database));
                } else {
                    state.database = database;
                }
            }
            Memory::Pulling { page } => {
                let is_known = it.number == before.database.last_push[client];
                if is_known || self.wrong == Some(Wrong::PullBeforeTheRepeat) {
                    *page = Some(before.database.pull(client, it.cursor));
                } else {
                    state.refused = true;
                    it.memory = Memory::Idle;
                }
            }
            Memory::Idle | Memory::Pushing { .. } | Memory::Pulled(_) => {}
        }
    }

    fn hear(&self, state: &mut State, client: usize) {
        let now = state.database.position;
        let it = &mut state.clients[client];
        match &it.memory {
            Memory::Pushed {
                upto,
                answer: Some(answer),
            } => {
                let (upto, answer) = (*upto, *answer);
                match answer {
                    Answer::Receipt(receipt) => {
                        let covers = it.frozen.map_or(0, |push| push.upto);
                        if it.last_seq() > covers {
                            self.counts.note(Kind::SettledBesideEdits);
                        }
                        it.settle(&receipt, self.wrong);
                        it.memory = Memory::Pushing { upto };
                    }
                    Answer::Refused => {
                        state.refused = true;
                        it.memory = Memory::Idle;
                    }
                }
            }
            Memory::Pulling { page: Some(page) } => {
                let mut page = *page;
                if self.wrong == Some(Wrong::CursorOfALaterMoment) {
                    page.cursor = now;
                }
                if self.wrong == Some(Wrong::CursorBeforeThePage) {
                    it.cursor = page.cursor;
                }
                it.memory = Memory::Pulled(page);
            }
            Memory::Idle
            | Memory::Pushing { .. }
            | Memory::Pushed { .. }
            | Memory::Pulling { .. }
            | Memory::Pulled(_) => {}
        }
    }

    /// How far a state is from its end: what can still happen from outside, lines that no push has, pushes that the
    /// server has not, pushes without an answer, requests that nobody waits for, and the rest of the syncs under way.
    /// In this order: no step makes one less without leaving those before it as they are.
    fn distance(state: &State) -> [usize; 6] {
        let clients = || state.clients.iter().enumerate();
        let unfrozen = clients().map(|(_, it)| {
            let covered = it.frozen.map_or(0, |push| push.upto);
            it.log.iter().filter(|line| line.seq > covered).count()
        });
        let lacking = clients().filter(|(at, it)| {
            let number = it.frozen.map_or(0, |push| push.number);
            number > state.database.last_push[*at]
        });
        let rest = (0..CLIENTS).map(|client| rest_of_the_sync(state, client));
        [
            usize::from(state.edits_left + state.faults_left),
            unfrozen.sum(),
            lacking.count(),
            clients().filter(|(_, it)| it.frozen.is_some()).count(),
            state.late.len(),
            rest.sum(),
        ]
    }
}

/// A push goes on its way with nobody waiting for its answer.
fn send_late(state: &mut State, client: usize) {
    if let Some(push) = state.clients[client].frozen {
        state.late.push((client, push));
        state.late.sort_unstable();
    }
}

/// Steps left of a client's sync at the most, and those of the next, if this one will leave something.
fn rest_of_the_sync(state: &State, client: usize) -> usize {
    /// The steps of a sync.
    const WHOLE: usize = 9;
    let it = &state.clients[client];
    let (rest, upto, cursor) = match &it.memory {
        Memory::Idle if state.wants_to_sync(client) => return WHOLE,
        Memory::Idle => return 0,
        Memory::Pushing { upto } => (8, *upto, None),
        Memory::Pushed { upto, answer: None } => (7, *upto, None),
        Memory::Pushed { upto, .. } => (6, *upto, None),
        Memory::Pulling { page: None } => (5, 0, None),
        Memory::Pulling { page: Some(page) } => (4, 0, Some(page.cursor)),
        Memory::Pulled(page) => (3, 0, Some(page.cursor)),
    };
    let is_left = it.last_seq() > upto;
    let is_behind = cursor.is_some_and(|cursor| cursor < state.database.position);
    if is_left || is_behind {
        rest + WHOLE + 1
    } else {
        rest
    }
}
