//! A server without sockets and without a housekeeper of its own, for simulations: requests go in and answers come
//! out, one after the other, in one process.
//!
//! Behind the feature `simulation`, with which no program is shipped. All of the server but the sockets takes part.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody as _};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::rt::Runtime;
use actix_web::test::{TestRequest, init_service};
use actix_web::web::Data;

use crate::asker::Asker;
use crate::auth::Owners;
use crate::config::Config;
use crate::http::App;
use crate::metrics::Metrics;
use crate::queue::{self, Writers};
use crate::serve::{Failure, application};
use crate::store::Store;
use crate::{edges, retention};

type Answering = Pin<Box<dyn Future<Output = Result<ServiceResponse<BoxBody>, actix_web::Error>>>>;

/// A server's part of a simulation.
pub struct Node {
    runtime: Runtime,
    service: Box<dyn Fn(TestRequest) -> Answering>,
    store: Arc<Store>,
    retention_days: u32,
    writers: Writers,
}

/// A request's answer, its body still to be read.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, Vec<u8>)>,
    body: Pin<Box<BoxBody>>,
}

/// What there is next of a body.
pub enum Piece {
    /// Bytes, encoded as the headers say.
    Bytes(Vec<u8>),
    /// Nothing: it has come to its end.
    End,
    /// Nothing: the server broke off.
    Cut,
}

impl Node {
    /// Opens the database and answers from now on.
    ///
    /// # Errors
    /// As [`crate::serve::serve`].
    pub fn open(config: Config) -> Result<Node, Failure> {
        let store = Arc::new(Store::open(&config.database, &config.tables)?);
        let metrics = Arc::new(Metrics::new(edges::now())?);
        let (queue, writers) = queue::open(&store, &metrics, config.limits.queue_submissions, 1);
        let retention_days = config.retention_days;
        let app = Data::new(App {
            config,
            store: store.clone(),
            queue,
            metrics,
            owners: Owners::default(),
            asker: Asker::new(store.clone()),
        });
        let runtime = Runtime::new()?;
        let service = runtime.block_on(init_service(application(app)));
        let service = Rc::new(service);
        Ok(Node {
            runtime,
            service: Box::new(move |request| {
                let service = service.clone();
                Box::pin(async move {
                    let response = service.call(request.to_request()).await?;
                    Ok(response.map_into_boxed_body())
                })
            }),
            store,
            retention_days,
            writers,
        })
    }

    /// Answers a request.
    ///
    /// # Errors
    /// If `method` is none.
    pub fn call(
        &self,
        (method, path): (&str, &str),
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> Result<Answer, actix_web::Error> {
        let method =
            Method::from_bytes(method.as_bytes()).map_err(actix_web::error::ErrorBadRequest)?;
        let mut request = TestRequest::default()
            .method(method)
            .uri(path)
            .peer_addr(([127, 0, 0, 1], 1).into())
            .set_payload(body);
        for (name, value) in headers {
            request = request.append_header((name.as_str(), value.as_str()));
        }
        let response = self.runtime.block_on((self.service)(request))?;
        let named = response.headers().iter();
        let named =
            named.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
        Ok(Answer {
            status: response.status().as_u16(),
            headers: named.collect(),
            body: Box::pin(response.into_body()),
        })
    }

    /// Makes the next piece of an answer's body. Others may be answered between two pieces.
    pub fn piece(&self, answer: &mut Answer) -> Piece {
        let body = &mut answer.body;
        let next = poll_fn(|context| body.as_mut().poll_next(context));
        match self.runtime.block_on(next) {
            None => Piece::End,
            Some(Ok(bytes)) => Piece::Bytes(bytes.to_vec()),
            Some(Err(_broken)) => Piece::Cut,
        }
    }

    /// Forgets what is older than the configured retention, as the housekeeper does once an hour.
    ///
    /// # Errors
    /// If the database is out of reach.
    pub fn keep_house(&self) -> Result<(), Failure> {
        Ok(retention::purge(&self.store, self.retention_days)?)
    }

    /// Ends it; whatever it has accepted is committed.
    pub fn close(self) {
        drop(self.service);
        drop(self.runtime);
        self.writers.join();
    }
}
