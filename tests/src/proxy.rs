//! A bad network: a TCP proxy between clients and the server that breaks requests as a seed says.
//!
//! It knows HTTP/1.1 just enough to tell where a message ends, and nothing of rows and edits. Each request
//! goes to the server over a connection of its own.

mod message;

use std::fmt;
use std::io::{BufRead as _, BufReader, ErrorKind, Result, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;

use crate::client::Client;
use message::{Asked, Message};

/// Longer than any answer of the server takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a connection on which nothing happens looks whether the proxy has ended.
const GLANCE: Duration = Duration::from_millis(50);

/// Pushes that are kept to be sent again later.
const KEPT: usize = 64;

const LONGEST_DELAY_MS: usize = 20;

const PROBLEM_503: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\n\
    Content-Type: application/problem+json\r\nContent-Length: 95\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"code\":\"database_unavailable\"}";

const HTML_502: &str = "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 46\r\n\r\n\
    <html><body><h1>Bad Gateway</h1></body></html>";

/// What can go wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed before any of the request is read.
    Refuse,
    /// A part of the request reaches the server, then both connections are closed.
    CutRequest,
    /// The server does what is asked, and no byte of its answer comes back.
    LoseAnswer,
    /// A part of the answer comes back: of its head, or of its body.
    CutAnswer,
    /// The server gets the request twice; the second answer comes back.
    Duplicate,
    /// The server gets an earlier push once more before the request; its answer goes nowhere.
    LateDuplicate,
    /// Some milliseconds pass; no fault in itself, and not in [`Counts::total`].
    Delay,
    /// The proxy answers 503 with `Retry-After: 0`, as a server that is too busy.
    Unavailable,
    /// The proxy answers 502 with a page of HTML, as other proxies do.
    BadGateway,
    /// A stream of lines ends early, in a well-formed answer.
    Truncate,
}

use Fault::{
    BadGateway, CutAnswer, CutRequest, Delay, Duplicate, LateDuplicate, LoseAnswer, Refuse,
    Truncate, Unavailable,
};

impl Fault {
    /// All of them, in the order of their numbers.
    pub const ALL: [Fault; 10] = [
        Refuse,
        CutRequest,
        LoseAnswer,
        CutAnswer,
        Duplicate,
        LateDuplicate,
        Delay,
        Unavailable,
        BadGateway,
        Truncate,
    ];
}

/// How many of 1,000 requests are to meet each fault. Without any all pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plan([u64; Fault::ALL.len()]);

impl Plan {
    /// The same plan with `per_mille` of this fault.
    #[must_use]
    pub fn with(mut self, fault: Fault, per_mille: u64) -> Plan {
        self.0[fault as usize] = per_mille;
        self
    }

    /// `per_mille` of every fault.
    #[must_use]
    pub fn all(per_mille: u64) -> Plan {
        Plan([per_mille; Fault::ALL.len()])
    }

    fn choose(&self, random: &mut Rng) -> Option<Fault> {
        let mut drawn = random.u64(0..1000);
        for fault in Fault::ALL {
            let weight = self.0[fault as usize];
            if drawn < weight {
                return Some(fault);
            }
            drawn -= weight;
        }
        None
    }
}

/// How often each fault has really happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    faults: [u64; Fault::ALL.len()],
    /// Requests whose first byte has come.
    pub requests: u64,
}

impl Counts {
    /// How often this one.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        self.faults[fault as usize]
    }

    /// All together, without the delays.
    #[must_use]
    pub fn total(&self) -> u64 {
        let all: u64 = self.faults.iter().sum();
        all - self.of(Delay)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} faults in {} requests", self.total(), self.requests)?;
        for fault in Fault::ALL {
            write!(f, ", {fault:?} {}", self.of(fault))?;
        }
        Ok(())
    }
}

/// A proxy on loopback; it ends when it is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    address: Arc<Mutex<String>>,
}

struct Shared {
    target: Arc<Mutex<String>>,
    state: Mutex<State>,
    ended: AtomicBool,
}

struct State {
    plan: Plan,
    random: Rng,
    counts: Counts,
    pushes: Vec<Vec<u8>>,
}

impl Proxy {
    /// A proxy before `target`, which may change; all requests pass until a plan is set.
    #[must_use]
    pub fn start(target: Arc<Mutex<String>>, seed: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = State {
            plan: Plan::default(),
            random: Rng::with_seed(seed),
            counts: Counts::default(),
            pushes: Vec::new(),
        };
        let shared = Arc::new(Shared {
            target,
            state: Mutex::new(state),
            ended: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                let shared = accepting.clone();
                if let Ok(client) = client {
                    // A connection that breaks is what this is about.
                    std::thread::spawn(move || drop(shared.serve(client)));
                }
            }
        });
        let address = Arc::new(Mutex::new(address));
        Proxy { shared, address }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.lock().unwrap().clone()
    }

    pub(crate) fn shared_address(&self) -> Arc<Mutex<String>> {
        self.address.clone()
    }

    /// A client that speaks through it.
    #[must_use]
    pub fn client(&self, name: &str) -> Client {
        Client::new(self.shared_address(), Some(name))
    }

    /// What becomes of the requests from now on.
    pub fn plan(&self, plan: Plan) {
        self.shared.state.lock().unwrap().plan = plan;
    }

    /// Lets all requests pass from now on.
    pub fn faults_off(&self) {
        self.plan(Plan::default());
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state.lock().unwrap().counts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        drop(TcpStream::connect(self.address()));
    }
}

/// What becomes of the client's connection.
enum Next {
    Stay,
    Close,
}

/// An answer, or its head if it does not end.
enum Answer {
    Whole(Message),
    Endless(Vec<u8>, BufReader<TcpStream>),
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> Result<()> {
        client.set_nodelay(true)?;
        let mut reader = BufReader::new(client.try_clone()?);
        while self.until_readable(&mut reader)? {
            let fault = self.begin();
            if fault == Some(Refuse) {
                self.happened(Refuse);
                break;
            }
            client.set_read_timeout(Some(PATIENCE))?;
            let request = Message::request(&mut reader)?;
            match self.pass(&request, fault, &mut client)? {
                Next::Stay if !request.closes() => {}
                Next::Stay | Next::Close => break,
            }
        }
        client.shutdown(Shutdown::Both)
    }

    /// Waits for a first byte; false if none will come.
    fn until_readable(&self, from: &mut BufReader<TcpStream>) -> Result<bool> {
        from.get_ref().set_read_timeout(Some(GLANCE))?;
        loop {
            match from.fill_buf() {
                Ok(bytes) => return Ok(!bytes.is_empty()),
                Err(late) if is_late(late.kind()) => {
                    if self.ended.load(Ordering::SeqCst) {
                        return Ok(false);
                    }
                }
                Err(broken) => return Err(broken),
            }
        }
    }

    fn begin(&self) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        let State {
            plan,
            random,
            counts,
            ..
        } = &mut *state;
        counts.requests += 1;
        plan.choose(random)
    }

    fn happened(&self, fault: Fault) {
        self.state.lock().unwrap().counts.faults[fault as usize] += 1;
    }

    fn below(&self, bound: usize) -> usize {
        self.state.lock().unwrap().random.usize(0..bound.max(1))
    }

    fn pass(
        &self,
        request: &Message,
        fault: Option<Fault>,
        client: &mut TcpStream,
    ) -> Result<Next> {
        match fault {
            None | Some(Refuse | CutAnswer | LoseAnswer | Truncate) => {}
            Some(Unavailable) => {
                self.happened(Unavailable);
                client.write_all(PROBLEM_503.as_bytes())?;
                return Ok(Next::Stay);
            }
            Some(BadGateway) => {
                self.happened(BadGateway);
                client.write_all(HTML_502.as_bytes())?;
                return Ok(Next::Stay);
            }
            Some(CutRequest) => {
                let bytes = request.bytes();
                let mut server = self.connect()?;
                server.write_all(&bytes[..self.below(bytes.len())])?;
                self.happened(CutRequest);
                server.shutdown(Shutdown::Both)?;
                return Ok(Next::Close);
            }
            Some(Duplicate) => {
                drop(self.ask(request)?);
                self.happened(Duplicate);
            }
            Some(LateDuplicate) => self.repeat_an_old_push(),
            Some(Delay) => {
                let delay = self.below(LONGEST_DELAY_MS) + 1;
                std::thread::park_timeout(Duration::from_millis(delay as u64));
                self.happened(Delay);
            }
        }
        self.keep(request);
        match self.ask(request)? {
            Answer::Endless(head, server) => self.relay(&head, server, fault, client),
            Answer::Whole(answer) => self.answer(&answer, fault, client),
        }
    }

    fn answer(
        &self,
        answer: &Message,
        fault: Option<Fault>,
        client: &mut TcpStream,
    ) -> Result<Next> {
        let next = if answer.closes() {
            Next::Close
        } else {
            Next::Stay
        };
        match fault {
            Some(LoseAnswer) => {
                self.happened(LoseAnswer);
                return Ok(Next::Close);
            }
            Some(CutAnswer) => {
                let bytes = answer.bytes();
                // Half of the cuts fall into the head, however long the body is.
                let within = [answer.head.len(), bytes.len()][self.below(2)];
                self.happened(CutAnswer);
                client.write_all(&bytes[..self.below(within)])?;
                return Ok(Next::Close);
            }
            Some(Truncate) => {
                let at = |length| (self.below(length), self.below(2) == 0);
                if let Some(short) = answer.shortened(at) {
                    self.happened(Truncate);
                    client.write_all(&short)?;
                    return Ok(next);
                }
            }
            None
            | Some(
                Refuse | CutRequest | Duplicate | LateDuplicate | Delay | Unavailable | BadGateway,
            ) => {}
        }
        client.write_all(&answer.bytes())?;
        Ok(next)
    }

    /// Hands on what comes, until either side has enough.
    fn relay(
        &self,
        head: &[u8],
        mut server: BufReader<TcpStream>,
        fault: Option<Fault>,
        client: &mut TcpStream,
    ) -> Result<Next> {
        let mut left = match fault {
            Some(LoseAnswer) => Some(0),
            Some(CutAnswer) => Some(self.below(4 * head.len())),
            None
            | Some(
                Refuse | CutRequest | Duplicate | LateDuplicate | Delay | Unavailable | BadGateway
                | Truncate,
            ) => None,
        };
        if let Some((fault, _)) = fault.zip(left) {
            self.happened(fault);
        }
        let mut next = head.to_vec();
        loop {
            let fits = left.map_or(next.len(), |left| left.min(next.len()));
            client.write_all(&next[..fits])?;
            left = left.map(|left| left - fits);
            if left == Some(0) || !self.until_readable(&mut server)? {
                return Ok(Next::Close);
            }
            next = server.buffer().to_vec();
            server.consume(next.len());
        }
    }

    fn connect(&self) -> Result<TcpStream> {
        let address = self.target.lock().unwrap().clone();
        let server = TcpStream::connect(address)?;
        server.set_nodelay(true)?;
        server.set_read_timeout(Some(PATIENCE))?;
        Ok(server)
    }

    fn ask(&self, request: &Message) -> Result<Answer> {
        let asked = Asked {
            only_head: request.starts_with("HEAD "),
        };
        self.ask_raw(&request.bytes(), &asked)
    }

    fn ask_raw(&self, request: &[u8], asked: &Asked) -> Result<Answer> {
        let mut server = self.connect()?;
        // The server may answer and close before it has read everything.
        let written = server.write_all(request);
        let mut server = BufReader::new(server);
        let head = match (message::read_head(&mut server), written) {
            (Err(_), Err(unwritten)) => return Err(unwritten),
            (head, _) => head?,
        };
        if message::is_endless(&head) {
            return Ok(Answer::Endless(head, server));
        }
        Ok(Answer::Whole(Message::answer(head, asked, &mut server)?))
    }

    fn keep(&self, request: &Message) {
        if request.starts_with("POST /v1/sync/push") {
            let mut state = self.state.lock().unwrap();
            let State { random, pushes, .. } = &mut *state;
            if pushes.len() >= KEPT {
                pushes.swap_remove(random.usize(0..KEPT));
            }
            pushes.push(request.bytes());
        }
    }

    fn repeat_an_old_push(&self) {
        let old = {
            let mut state = self.state.lock().unwrap();
            let State { random, pushes, .. } = &mut *state;
            random.choice(pushes.iter()).cloned()
        };
        let asked = Asked { only_head: false };
        if old.is_some_and(|old| self.ask_raw(&old, &asked).is_ok()) {
            self.happened(LateDuplicate);
        }
    }
}

fn is_late(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
