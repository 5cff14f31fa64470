//! What goes wrong, as HTTP has it.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::control::protocol::{Failure, FailureKind};

/// A failure, as scripts get it.
#[derive(Debug)]
pub(super) struct ApiError(pub(super) Failure);

impl ApiError {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self(Failure { kind: FailureKind::BadRequest, message: message.into() })
    }

    pub(super) const fn status(&self) -> StatusCode {
        status(self.0.kind)
    }
}

/// The status of a kind of failure.
pub(super) const fn status(kind: FailureKind) -> StatusCode {
    match kind {
        FailureKind::BadRequest => StatusCode::BAD_REQUEST,
        FailureKind::NotFound => StatusCode::NOT_FOUND,
        FailureKind::Configuration => StatusCode::CONFLICT,
        FailureKind::System => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.0 });
        (self.status(), axum::Json(body)).into_response()
    }
}

/// Why a request is not even looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    TooMany,
    NoToken,
    NoRight,
    AnotherSite,
}

impl IntoResponse for Turned {
    fn into_response(self) -> Response {
        let (status, kind, message) = match self {
            Self::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "more requests a second than one address may make",
            ),
            Self::NoToken => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "a token is needed: `mxdp token NAME` makes one for [[web.tokens]]",
            ),
            Self::NoRight => {
                (StatusCode::FORBIDDEN, "forbidden", "this token may read, and not change anything")
            }
            Self::AnotherSite => {
                (StatusCode::FORBIDDEN, "forbidden", "asked for by a page of another site")
            }
        };
        let body = axum::Json(json!({ "error": { "kind": kind, "message": message } }));
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        match self {
            Self::NoToken => {
                // Browsers ask for a name, which is not looked at, and a password.
                let challenge =
                    "Basic realm=\"mxdp: the token is the password\", charset=\"UTF-8\"";
                let challenge = header::HeaderValue::from_static(challenge);
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Self::TooMany => {
                headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
            }
            Self::NoRight | Self::AnotherSite => {}
        }
        response
    }
}
