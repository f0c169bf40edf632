//! What whoever runs the server asks it: is it alive, can it work, how is it doing.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, ServiceConfig};

use super::App;
use super::exchange::read;
use super::problem::Problem;

pub(super) fn routes(service: &mut ServiceConfig) {
    service
        .service(web::resource("/healthz").route(web::get().to(healthz)))
        .service(web::resource("/readyz").route(web::get().to(readyz)))
        .service(web::resource("/metrics").route(web::get().to(metrics)));
}

/// The process answers.
async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// The database answers, too.
async fn readyz(app: Data<App>) -> Result<HttpResponse, Problem> {
    read(&app, crate::store::conn::Conn::ping).await?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain")
        .body("ready\n"))
}

async fn metrics(app: Data<App>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4")
        .body(app.metrics.render())
}
