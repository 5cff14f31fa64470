//! The replies of the API.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::control::protocol::{Failure, FailureKind};
use crate::web::error::ApiError;

/// The outcome of a handler; the description gets its schema from `T`.
pub(in crate::web) type Answered<T> = Result<Answer<T>, ApiError>;

/// A value in JSON, and what its type has no place for.
pub(in crate::web) struct Answer<T> {
    value: T,
    warning: Option<String>,
    headers: HeaderMap,
}

impl<T> Answer<T> {
    pub(super) fn of(value: T) -> Self {
        Self { value, warning: None, headers: HeaderMap::new() }
    }

    /// Adds a member `warning` to the object.
    pub(super) fn with_warning(self, warning: Option<String>) -> Self {
        Self { warning, ..self }
    }

    /// Adds a header field, if its value is one.
    pub(super) fn with_header<V>(mut self, name: &'static str, value: V) -> Self
    where
        V: TryInto<HeaderValue>,
    {
        if let Ok(value) = value.try_into() {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Names what is missing, where the value has no place for it.
    pub(super) fn without(mut self, skipped: &[String]) -> Self {
        say_partial(&mut self.headers, skipped);
        self
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let mut body = match serde_json::to_value(&self.value) {
            Ok(body) => body,
            Err(error) => {
                let message = format!("the reply has no JSON form: {error}");
                return ApiError(Failure { kind: FailureKind::System, message }).into_response();
            }
        };
        if let (Some(warning), Some(object)) = (self.warning, body.as_object_mut()) {
            object.insert("warning".to_owned(), warning.into());
        }
        (self.headers, Json(body)).into_response()
    }
}

/// Names in a header field what is missing of a reply.
pub(super) fn say_partial(headers: &mut HeaderMap, skipped: &[String]) {
    if let Ok(missing) = HeaderValue::try_from(skipped.join("; "))
        && !skipped.is_empty()
    {
        headers.insert("x-partial", missing);
    }
}

/// The reply to a path that does not exist.
pub(in crate::web) fn not_found() -> Response {
    let body = json!({ "error": { "kind": "not_found", "message": "no such path" } });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

/// The reply to a method that a path does not have.
pub(in crate::web) fn not_allowed() -> Response {
    let message = "this path does not support the method";
    let body = json!({ "error": { "kind": "bad_request", "message": message } });
    (StatusCode::METHOD_NOT_ALLOWED, Json(body)).into_response()
}
