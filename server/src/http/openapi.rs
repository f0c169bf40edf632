//! `GET /openapi.json` and `/docs`: the calls, as OpenAPI 3.1 tells them, and a page that shows that.
//!
//! All that is said of the calls stands in this room, so that the handlers do not drown in it; stories hold it to what
//! they do. It says nothing of a server's own tables, and so it needs no key where they do.

mod admin;
mod call;
mod ops;
mod parameters;
mod problems;
mod rows;
mod schemas;
mod sync;

use std::sync::{Arc, LazyLock};

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, Path, ServiceConfig};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathsBuilder};

use super::problem::Problem;
use call::Call;

/// Nothing of the page comes from another host, and nothing of it goes there.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const ABOUT: &str = "Column-level differential sync. Edits go up, changes come down; each edit is answered by a \
    receipt with one outcome per column. A conflict is no error: it is a 200 whose receipt says so. A 4xx refuses the \
    whole request and has changed nothing.\n\nA body may be packed by gzip or zstd (`Content-Encoding`), as may an \
    answer. A header that is there twice is refused. A path or method that is not here is answered by the problems \
    `not_found` and `method_not_allowed`; what is no HTTP at all, by an empty 400 or 408.";

static DOCUMENT: LazyLock<Result<String, String>> =
    LazyLock::new(|| document().to_json().map_err(|broken| broken.to_string()));

static PAGE: LazyLock<Arc<utoipa_swagger_ui::Config<'static>>> = LazyLock::new(|| {
    // Swagger's own validator is another host.
    Arc::new(utoipa_swagger_ui::Config::new(["/openapi.json"]).validator_url("none"))
});

pub(super) fn routes(service: &mut ServiceConfig) {
    service
        .service(web::resource("/openapi.json").route(web::get().to(openapi)))
        .service(web::resource("/docs").route(web::get().to(to_docs)))
        .service(web::resource("/docs/{file:.*}").route(web::get().to(docs)));
}

async fn openapi() -> Result<HttpResponse, Problem> {
    let document = DOCUMENT.as_ref().map_err(Problem::internal)?;
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(document.as_str()))
}

async fn to_docs() -> HttpResponse {
    HttpResponse::PermanentRedirect()
        .insert_header((header::LOCATION, "/docs/"))
        .finish()
}

async fn docs(file: Path<String>) -> Result<HttpResponse, Problem> {
    let found = utoipa_swagger_ui::serve(&file, PAGE.clone()).map_err(Problem::internal)?;
    let found = found.ok_or_else(|| Problem::not_found("not_found", "there is nothing here"))?;
    Ok(HttpResponse::Ok()
        .content_type(found.content_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .body(found.bytes.into_owned()))
}

/// All calls, with what they take and answer.
fn document() -> OpenApi {
    let calls = [rows::calls(), sync::calls(), admin::calls(), ops::calls()];
    let paths = calls
        .into_iter()
        .flatten()
        .fold(PathsBuilder::new(), |paths, call: Call| {
            let (path, item) = call.item();
            paths.path(path, item)
        });
    let info = InfoBuilder::new()
        .title("colsync")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(utoipa::openapi::License::new(env!(
            "CARGO_PKG_LICENSE"
        ))))
        .build();
    let tags = [
        ("rows", "Rows, for any REST client"),
        ("sync", "Many edits at once, and the feed of changes"),
        (
            "admin",
            "The ledger and its decisions; needs the administrators' token",
        ),
        ("operations", "For whoever runs the server"),
    ];
    let tags = tags.map(|(name, about)| {
        TagBuilder::new()
            .name(name)
            .description(Some(about))
            .build()
    });
    OpenApiBuilder::new()
        .info(info)
        .paths(paths.build())
        .components(Some(schemas::register(keys()).build()))
        .tags(Some(tags))
        .build()
}

/// How a caller says who it is.
fn keys() -> ComponentsBuilder {
    let bearer = |about: &str| {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(about));
        SecurityScheme::Http(scheme.build())
    };
    ComponentsBuilder::new()
        .security_scheme(
            call::KEY,
            bearer("An API key, where `[auth]` is configured; without it the server answers on loopback only"),
        )
        .security_scheme(call::ADMIN, bearer("The administrators' token"))
}
