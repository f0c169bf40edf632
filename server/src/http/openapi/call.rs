//! One call of the document: what it takes, what it answers, and which problems it may meet.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, PathItem};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Schema};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, ContentBuilder, HeaderBuilder, Ref, RefOr, Required};

use super::parameters;
use super::problems::{self, Code};

/// The scheme of callers under `/v1`, and of administrators.
pub(super) const KEY: &str = "key";
pub(super) const ADMIN: &str = "administrator";

pub(super) const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// Who may make a call.
#[derive(Debug, Clone, Copy)]
enum Who {
    Anyone,
    Caller,
    Administrator,
}

/// A call in the making.
pub(super) struct Call {
    method: HttpMethod,
    path: &'static str,
    who: Who,
    operation: OperationBuilder,
    problems: Vec<Code>,
}

impl Call {
    fn new(method: HttpMethod, path: &'static str, tag: &str, id: &str, about: &str) -> Call {
        let (summary, more) = about.split_once(". ").unwrap_or((about, ""));
        let operation = OperationBuilder::new()
            .tag(tag)
            .operation_id(Some(id))
            .summary(Some(summary))
            .description((!more.is_empty()).then_some(more));
        Call {
            method,
            path,
            who: Who::Anyone,
            operation,
            problems: Vec::new(),
        }
    }

    /// One that the server's own operator makes, without a key.
    pub(super) fn ops(path: &'static str, id: &str, about: &str) -> Call {
        Call::new(HttpMethod::Get, path, "operations", id, about).problems(problems::ANY)
    }

    /// One under `/v1`, with the headers that all of those take.
    pub(super) fn v1(
        method: HttpMethod,
        path: &'static str,
        tag: &str,
        id: &str,
        about: &str,
    ) -> Call {
        let mut call = Call::new(method, path, tag, id, about)
            .problems(problems::ANY)
            .problems(problems::CALLER);
        call.who = Who::Caller;
        call.parameters([parameters::client_id(), parameters::client_time()])
    }

    /// One of the administrators'.
    pub(super) fn admin(method: HttpMethod, path: &'static str, id: &str, about: &str) -> Call {
        let mut call = Call::new(method, path, "admin", id, about)
            .problems(problems::ANY)
            .problems(problems::ADMIN);
        call.who = Who::Administrator;
        call
    }

    /// With parameters and headers.
    pub(super) fn parameters(mut self, more: impl IntoIterator<Item = Parameter>) -> Call {
        for parameter in more {
            self.operation = self.operation.parameter(parameter);
        }
        self
    }

    /// With problems that it may meet.
    pub(super) fn problems(mut self, more: &[Code]) -> Call {
        self.problems.extend_from_slice(more);
        self
    }

    /// With a body of one of these media types and schemas.
    pub(super) fn body(mut self, kinds: &[(&str, &str)]) -> Call {
        let body = kinds
            .iter()
            .fold(RequestBodyBuilder::new(), |body, (media_type, schema)| {
                body.content(*media_type, content(schema))
            });
        let body: RequestBody = body.required(Some(Required::True)).build();
        self.operation = self
            .operation
            .request_body(Some(body))
            .parameter(parameters::content_encoding());
        self.problems(problems::BODY)
    }

    /// An answer of a media type and schema, with headers.
    pub(super) fn answer(
        mut self,
        status: &str,
        about: &str,
        what: Option<(&str, Content)>,
        headers: &[(&str, &str)],
    ) -> Call {
        let mut response = ResponseBuilder::new().description(about);
        if let Some((media_type, content)) = what {
            response = response.content(media_type, content);
        }
        for (name, about) in headers {
            let text = ObjectBuilder::new().schema_type(utoipa::openapi::Type::String);
            let header = HeaderBuilder::new()
                .schema(Some(text))
                .description(Some(*about));
            response = response.header(*name, header.build());
        }
        self.operation = self.operation.response(status, response.build());
        self
    }

    /// An answer of JSON, with the time at which the request came.
    pub(super) fn json(self, status: &str, about: &str, schema: &str) -> Call {
        self.json_with(status, about, schema, &[])
    }

    /// The same with further headers.
    pub(super) fn json_with(
        self,
        status: &str,
        about: &str,
        schema: &str,
        headers: &[(&str, &str)],
    ) -> Call {
        let mut headers = headers.to_vec();
        if matches!(self.who, Who::Caller) {
            headers.push(SERVER_TIME);
        }
        self.answer(status, about, Some((JSON, content(schema))), &headers)
    }

    /// Its path, and what there is to say of it.
    pub(super) fn item(self) -> (&'static str, PathItem) {
        let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in self.problems {
            let codes = by_status.entry(code.0).or_default();
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        let mut operation = self.operation;
        for (status, codes) in by_status {
            operation = operation.response(status.to_string(), problem(status, &codes));
        }
        // Nothing to say is: whoever calls. The first of several is what a server without `[auth]` asks for.
        let needs = match self.who {
            Who::Anyone => vec![SecurityRequirement::default()],
            Who::Caller => vec![
                SecurityRequirement::default(),
                SecurityRequirement::new(KEY, [""; 0]),
            ],
            Who::Administrator => vec![SecurityRequirement::new(ADMIN, [""; 0])],
        };
        let operation = operation.securities(Some(needs));
        (self.path, PathItem::new(self.method, operation))
    }
}

pub(super) const SERVER_TIME: (&str, &str) = ("Server-Time", "When the request's head arrived");
pub(super) const ETAG: (&str, &str) = ("ETag", "The row's version, such as `\"7\"`");

/// A reference to the schema of that name.
pub(super) fn schema(name: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}

pub(super) fn content(name: &str) -> Content {
    ContentBuilder::new().schema(Some(schema(name))).build()
}

/// The answer by which one of `codes` is told.
fn problem(status: u16, codes: &[Code]) -> Response {
    let names = codes.iter().map(|(_, code)| *code);
    let told: Vec<String> = codes
        .iter()
        .map(|code| format!("`{}`: {}", code.1, problems::when(*code)))
        .collect();
    let one_of = ObjectBuilder::new()
        .property(
            "code",
            ObjectBuilder::new()
                .schema_type(utoipa::openapi::Type::String)
                .enum_values(Some(names)),
        )
        .property(
            "status",
            ObjectBuilder::new()
                .schema_type(utoipa::openapi::Type::Integer)
                .enum_values(Some([json!(status)])),
        );
    let schema = AllOfBuilder::new().item(schema("Problem")).item(one_of);
    let content = ContentBuilder::new()
        .schema(Some(Schema::AllOf(schema.build())))
        .build();
    let mut response = ResponseBuilder::new()
        .description(told.join("; "))
        .content(PROBLEM, content);
    for (of, name, about) in [
        (401, "WWW-Authenticate", "`Bearer`"),
        (
            415,
            "Accept-Encoding",
            "Of `unsupported_encoding`: what a body may be packed by",
        ),
        (503, "Retry-After", "Seconds"),
    ] {
        if status == of {
            let text = ObjectBuilder::new().schema_type(utoipa::openapi::Type::String);
            let header = HeaderBuilder::new()
                .schema(Some(text))
                .description(Some(about));
            response = response.header(name, header.build());
        }
    }
    response.build()
}
