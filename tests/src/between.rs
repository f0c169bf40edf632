//! Something between a client and an API that sees each request before it is passed on.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::plain::Plain;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It is passed on, and its answer back.
    Pass,
    /// It is passed on, and the connection ends in place of its answer.
    LoseAnswer,
    /// It is passed on, and this comes in place of its answer; then the connection ends.
    AnswerInstead(&'static [u8]),
    /// It is not passed on, but answered so; then the connection ends.
    Answer(&'static [u8]),
}

/// A port that leads to an API, for as long as it lives.
pub struct Between {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Between {
    /// A way to `api` on which `each` sees the beginning of each request before the API does.
    ///
    /// # Panics
    /// If there is no port for it.
    #[must_use]
    pub fn new(api: &Plain, each: impl Fn(&[u8]) -> Act + Send + Sync + 'static) -> Between {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let (each, ends, api) = (Arc::new(each), over.clone(), api.address());
        std::thread::spawn(move || {
            for from in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let to = TcpStream::connect(&api);
                if let (Ok(from), Ok(to)) = (from, to) {
                    pass_on(from, to, each.clone());
                }
            }
        });
        Between { address, over }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

fn pass_on(
    mut from: TcpStream,
    mut to: TcpStream,
    each: Arc<impl Fn(&[u8]) -> Act + Send + Sync + 'static>,
) {
    let instead = Arc::new(Mutex::new(None::<&'static [u8]>));
    let (mut back, mut answers) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    let said = instead.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(read @ 1..) = answers.read(&mut buffer) {
            let instead = *said.lock().unwrap();
            let answer = instead.unwrap_or(&buffer[..read]);
            if back.write_all(answer).is_err() || instead.is_some() {
                break;
            }
        }
        for end in [&answers, &back] {
            drop(end.shutdown(Shutdown::Both));
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            match each(&buffer[..read]) {
                Act::Pass => {}
                Act::LoseAnswer => *instead.lock().unwrap() = Some(b""),
                Act::AnswerInstead(answer) => *instead.lock().unwrap() = Some(answer),
                Act::Answer(answer) => {
                    drop(from.write_all(answer));
                    break;
                }
            }
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        for end in [&from, &to] {
            drop(end.shutdown(Shutdown::Both));
        }
    });
}
