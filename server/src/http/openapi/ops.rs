//! The calls of whoever runs the server, and this document's own.

use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa::openapi::{Content, ContentBuilder, Type};

use super::call::Call;

pub(super) fn calls() -> Vec<Call> {
    let healthy = Call::ops("/healthz", "healthz", "Whether the process answers").answer(
        "200",
        "It does",
        Some(("text/plain", of(Type::String))),
        &[],
    );
    let ready = Call::ops("/readyz", "readyz", "Whether the database answers, too")
        .problems(&[(503, "database_unavailable")])
        .answer(
            "200",
            "It does",
            Some(("text/plain", of(Type::String))),
            &[],
        );
    let metrics = Call::ops("/metrics", "metrics", "How it is doing, for Prometheus").answer(
        "200",
        "Prometheus's text format",
        Some(("text/plain", of(Type::String))),
        &[],
    );
    let document = Call::ops("/openapi.json", "openapi", "This document").answer(
        "200",
        "OpenAPI 3.1",
        Some(("application/json", of(Type::Object))),
        &[],
    );
    let to_docs = Call::ops(
        "/docs",
        "to_docs",
        "The way to a page that shows this document",
    )
    .answer("308", "To the page", None, &[("Location", "`/docs/`")]);
    let docs = Call::ops("/docs/", "docs", "A page that shows this document").answer(
        "200",
        "The page, which loads nothing from elsewhere",
        Some(("text/html", of(Type::String))),
        &[],
    );
    vec![healthy, ready, metrics, document, to_docs, docs]
}

fn of(ty: Type) -> Content {
    let schema = ObjectBuilder::new().schema_type(ty);
    ContentBuilder::new()
        .schema(Some(Schema::Object(schema.build())))
        .build()
}
