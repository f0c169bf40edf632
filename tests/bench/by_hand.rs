//! What a user would write in place of colsync: an endpoint that updates one row of a plain table.
//!
//! It merges nothing and keeps nothing of what was there. It runs in a process of its own, as the server does.

use std::process::Command;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, patch, web};
use colsync_tests::process::Process;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use serde::{Deserialize, Serialize};

use crate::subject::Subject;

/// As many as it has requests at once: with fewer it is slower.
const CONNECTIONS: u32 = 32;

/// Longer than its clients stand idle while the other side is measured.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The option of this program that makes it serve.
const OPTION: &str = "--serve-by-hand";

type Database = Pool<ConnectionManager<PgConnection>>;

diesel::table! {
    plain (id) {
        id -> Uuid,
        quantity -> BigInt,
    }
}

#[derive(Serialize, Deserialize)]
struct Quantity {
    quantity: i64,
}

#[patch("/plain/{id}")]
async fn update(
    pool: web::Data<Database>,
    id: web::Path<uuid::Uuid>,
    body: web::Json<Quantity>,
) -> HttpResponse {
    let quantity = body.quantity;
    let updated = web::block(move || {
        let mut conn = pool.get().unwrap();
        diesel::update(plain::table.find(id.into_inner()))
            .set(plain::quantity.eq(quantity))
            .execute(&mut conn)
            .unwrap()
    });
    match updated.await {
        Ok(1) => HttpResponse::Ok().json(Quantity { quantity }),
        Ok(_) => HttpResponse::NotFound().finish(),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// Serves the database at `url` until it is told to end.
pub(crate) fn serve(url: &str) {
    let pool: Database = Pool::builder()
        .max_size(CONNECTIONS)
        .build(ConnectionManager::new(url))
        .unwrap();
    let pool = web::Data::new(pool);
    let app = move || App::new().app_data(pool.clone()).service(update);
    actix_web::rt::System::new().block_on(async {
        let server = HttpServer::new(app).keep_alive(KEEP_ALIVE);
        let server = server.bind("127.0.0.1:0").unwrap();
        println!("listening on http://{}", server.addrs()[0]);
        server.shutdown_timeout(1).run().await.unwrap();
    });
}

/// The endpoint in a process of its own.
pub(crate) struct ByHand(Process);

impl ByHand {
    /// Serves the table beside the subject's.
    pub(crate) fn start(subject: &Subject) -> ByHand {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(OPTION).arg(subject.url());
        ByHand(Process::start(command))
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> &str {
        &self.0.address
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        self.0.signal("TERM");
        self.0.wait();
    }
}
