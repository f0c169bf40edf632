//! The HTTP door: decode, authorise, hand on, answer.
//!
//! Handlers know edits, receipts and pages of the feed. They know no SQL, and nothing here waits for a
//! database on one of actix's threads.

mod admin;
pub(crate) mod body;
mod chunks;
mod exchange;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub(crate) mod headers;
mod openapi;
mod ops;
mod packed;
pub(crate) mod problem;
mod pull;
mod push;
mod rows;
mod schema;
mod write;

use std::sync::Arc;
use std::time::Instant;

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Compress, DefaultHeaders, Next};
use actix_web::web::{self, ServiceConfig};

use crate::asker::Asker;
use crate::auth::Owners;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::store::Store;

/// What every handler can reach.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) store: Arc<Store>,
    pub(crate) asker: Arc<Asker>,
    pub(crate) queue: Queue,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) owners: Owners,
}

/// All routes.
pub(crate) fn routes(service: &mut ServiceConfig) {
    service
        .service(
            web::scope("/v1")
                .service(web::resource("/schema").route(web::get().to(schema::get)))
                .service(
                    web::resource("/tables/{table}/rows")
                        .route(web::get().to(rows::list))
                        .route(web::post().to(write::post)),
                )
                .service(
                    web::resource("/tables/{table}/rows/{id}")
                        .route(web::get().to(rows::get))
                        .route(web::patch().to(write::patch))
                        .route(web::put().to(write::put))
                        .route(web::delete().to(write::delete)),
                )
                .service(web::resource("/sync/push").route(web::post().to(push::push)))
                .service(web::resource("/sync/log").route(web::post().to(push::log)))
                .service(web::resource("/sync/rows").route(web::post().to(push::rows)))
                .service(web::resource("/sync/pull").route(web::get().to(pull::pull))),
        )
        .service(web::scope("/admin/v1").configure(admin::routes))
        .configure(openapi::routes)
        .configure(ops::routes);
}

/// Counts and times every answer, by its route's pattern.
pub(crate) async fn measured<B: actix_web::body::MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let started = Instant::now();
    let app = request.app_data::<web::Data<App>>().cloned();
    let response = next.call(request).await;
    if let (Some(app), Ok(response)) = (app, &response) {
        let request = response.request();
        let route = request.match_pattern();
        let status = response.status().as_u16();
        app.metrics.answered(
            request.method().as_str(),
            route.as_deref(),
            status,
            started.elapsed(),
        );
    }
    response
}

/// Compression of answers.
pub(crate) fn compress() -> Compress {
    Compress::default()
}

/// Headers that every answer carries.
pub(crate) fn answer_headers() -> DefaultHeaders {
    DefaultHeaders::new().add(("X-Content-Type-Options", "nosniff"))
}
