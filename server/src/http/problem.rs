//! Every error that leaves over HTTP: `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! Must not know what went wrong inside beyond the code and a sentence for the caller. The cause of a
//! 5xx is logged here, once, and not sent.

use std::fmt;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, ResponseError};
use serde_json::{Map, Value as Json};

use crate::edges;

const MEDIA_TYPE: &str = "application/problem+json";

/// An answer that refuses the whole request.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    /// For programs; it never changes for the same reason.
    code: &'static str,
    /// For people; holds nothing that the caller did not send or may not see.
    detail: String,
    /// The header, parameter, member or column at fault.
    field: Option<String>,
    extra: Map<String, Json>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Problem {
            status,
            code,
            detail: detail.into(),
            field: None,
            extra: Map::new(),
            headers: Vec::new(),
        }
    }

    /// 400: the request makes no sense.
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 401, with the scheme that would be accepted.
    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        let scheme = HeaderValue::from_static("Bearer realm=\"colsync\"");
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .header(header::WWW_AUTHENTICATE, scheme)
    }

    /// 403: known, but not allowed.
    pub(crate) fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 404.
    pub(crate) fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 408: the request did not arrive in time.
    pub(crate) fn timeout(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail)
    }

    /// 409.
    pub(crate) fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::CONFLICT, code, detail)
    }

    /// 410: it was there, and will not be again.
    pub(crate) fn gone(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::GONE, code, detail)
    }

    /// 413.
    pub(crate) fn payload_too_large(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, code, detail)
    }

    /// 415.
    pub(crate) fn unsupported_media_type(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, code, detail)
    }

    /// 422: understood, and not acceptable.
    pub(crate) fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 503: try again in a second.
    pub(crate) fn unavailable(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
            .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// 500. Logs `cause`, which must not hold column values, under an id that the caller gets.
    pub(crate) fn internal(cause: impl fmt::Display) -> Self {
        let incident = edges::uuid4();
        log::error!("incident {incident}: {cause}");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server could not finish the request; its log says why",
        )
        .with("incident", incident.to_string())
    }

    /// An error that the framework made, told as a problem.
    fn of_status(status: StatusCode, cause: Option<String>) -> Self {
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            return Problem::internal(cause.unwrap_or_default());
        }
        let (code, detail) = match status.as_u16() {
            400 => ("bad_request", "the request makes no sense"),
            404 => ("not_found", "there is nothing here"),
            405 => ("method_not_allowed", "this method is not for this place"),
            406 => (
                "not_acceptable",
                "an answer is gzip, zstd, or plain, and Accept-Encoding refuses them all",
            ),
            413 => ("body_too_large", "the body is too large"),
            _ => ("refused", "the request is refused"),
        };
        let cause = cause.filter(|cause| status.is_client_error() && !cause.is_empty());
        let problem = Problem::new(status, code, cause.unwrap_or_else(|| detail.to_owned()));
        if status == StatusCode::NOT_ACCEPTABLE {
            return problem.field(header::ACCEPT_ENCODING.as_str());
        }
        problem
    }

    /// The same problem, naming what is at fault.
    #[must_use]
    pub(crate) fn field(self, field: impl Into<String>) -> Self {
        Problem {
            field: Some(field.into()),
            ..self
        }
    }

    /// The same problem with a further member.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// The same problem with a response header.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Its stable code.
    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    fn body(&self) -> String {
        let mut body = self.extra.clone();
        let mut put = |name: &str, value: Json| body.insert(name.to_owned(), value);
        put("type", "about:blank".into());
        put("title", self.title().into());
        put("status", self.status.as_u16().into());
        put("code", self.code.into());
        put("detail", self.detail.as_str().into());
        if let Some(field) = &self.field {
            put("field", field.as_str().into());
        }
        Json::Object(body).to_string()
    }

    /// RFC 9457 wants the status's own phrase where the type is `about:blank`.
    fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        for (name, value) in &self.headers {
            response.insert_header((name, value));
        }
        // What is left of a body that nobody read must not be taken for the next request.
        if [StatusCode::REQUEST_TIMEOUT, StatusCode::PAYLOAD_TOO_LARGE].contains(&self.status) {
            response.force_close();
        }
        response
            .insert_header((header::CONTENT_TYPE, MEDIA_TYPE))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(self.body())
    }
}

/// Middleware for the whole app: an error that the framework answers by itself (no such route, a wrong
/// method, a parameter that does not parse) becomes a problem, and keeps its `Allow`.
pub(crate) async fn only_problems<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let response = match next.call(request).await {
        Ok(response) => response,
        Err(error) if error.as_error::<Problem>().is_some() => return Err(error),
        Err(error) => {
            let status = error.as_response_error().status_code();
            return Err(Problem::of_status(status, Some(error.to_string())).into());
        }
    };
    let status = response.status();
    let told = response.headers().get(header::CONTENT_TYPE);
    if status.as_u16() < 400 || told.is_some_and(|told| told == MEDIA_TYPE) {
        return Ok(response.map_into_left_body());
    }
    let cause = response.response().error().map(ToString::to_string);
    let mut problem = Problem::of_status(status, cause);
    if let Some(allow) = response.headers().get(header::ALLOW) {
        problem = problem.header(header::ALLOW, allow.clone());
    }
    Ok(response
        .into_response(problem.error_response())
        .map_into_right_body())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::middleware::from_fn;
    use actix_web::{App, test, web};

    async fn answer(method: test::TestRequest) -> (HttpResponse<()>, Json) {
        let routes = web::resource("/things/{n}")
            .route(web::get().to(|n: web::Path<u8>| async move {
                match n.into_inner() {
                    1 => Err(Problem::conflict("taken", "it is taken")
                        .field("n")
                        .with("by", 7)),
                    2 => Err(Problem::internal("the secret cause")),
                    _ => Ok("fine"),
                }
            }))
            .route(web::delete().to(|| async { "gone" }));
        let app = App::new().wrap(from_fn(only_problems)).service(routes);
        let app = test::init_service(app).await;
        let response = test::call_service(&app, method.to_request()).await;
        let (_, response) = response.into_parts();
        let (head, body) = response.into_parts();
        let body = actix_web::body::to_bytes(body).await.ok().unwrap();
        (head, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[actix_web::test]
    async fn a_problem_says_its_code_and_what_is_at_fault() {
        let (head, body) = answer(test::TestRequest::get().uri("/things/1")).await;
        assert_eq!(head.headers().get("content-type").unwrap(), MEDIA_TYPE);
        let expected = serde_json::json!({
            "type": "about:blank", "title": "Conflict", "status": 409,
            "code": "taken", "detail": "it is taken", "field": "n", "by": 7,
        });
        assert_eq!(body, expected);
    }

    #[actix_web::test]
    async fn the_cause_of_a_500_is_not_sent() {
        let (head, body) = answer(test::TestRequest::get().uri("/things/2")).await;
        assert_eq!(head.status(), 500);
        assert!(body["incident"].is_string());
        assert!(!body.to_string().contains("secret"));
    }

    #[actix_web::test]
    async fn what_the_framework_refuses_is_a_problem_too() {
        for (request, status, code) in [
            (test::TestRequest::get().uri("/nowhere"), 404, "not_found"),
            (
                test::TestRequest::get().uri("/things/300"),
                404,
                "not_found",
            ),
            (
                test::TestRequest::post().uri("/things/3"),
                405,
                "method_not_allowed",
            ),
        ] {
            let (head, body) = answer(request).await;
            assert_eq!(head.status(), status);
            assert_eq!(head.headers().get("content-type").unwrap(), MEDIA_TYPE);
            assert_eq!(body["code"], code);
            if status == 405 {
                let allow = head.headers().get("allow").unwrap().to_str().unwrap();
                assert!(allow.contains("GET") && allow.contains("DELETE"), "{allow}");
            }
        }
        let (head, _) = answer(test::TestRequest::get().uri("/things/3")).await;
        assert_eq!(head.status(), 200);
    }
}
