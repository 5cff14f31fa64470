//! Failures and rejections, as HTTP responses.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::control::protocol::{Failure, FailureKind};

/// A failure, as scripts receive it.
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

/// Why a request is rejected before routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    TooMany,
    NoToken,
    NoRight,
    AnotherSite,
    TooSlow,
    TooLarge,
}

/// The message for a client without a token.
const NO_TOKEN: &str = "a token is required: on the mail host, `mxdp token NAME` creates one and prints \
                        its [[web.tokens]] table; it takes effect after `mxdp reload`";

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let (status, kind, message) = match self {
            Self::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "too many requests per second from this client network",
            ),
            Self::NoToken => (StatusCode::UNAUTHORIZED, "unauthorized", NO_TOKEN),
            Self::NoRight => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "this token may only read; a change requires `rights = \"write\"`",
            ),
            Self::AnotherSite => {
                (StatusCode::FORBIDDEN, "forbidden", "requested by a page of another site")
            }
            Self::TooSlow => {
                (StatusCode::REQUEST_TIMEOUT, "too_slow", "the request body did not arrive in time")
            }
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "the request body is larger than 65536 bytes",
            ),
        };
        let body = axum::Json(json!({ "error": { "kind": kind, "message": message } }));
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        match self {
            Self::NoToken => {
                // Browsers ask for a user name, which is ignored, and a password.
                let challenge =
                    "Basic realm=\"mxdp: the token is the password\", charset=\"UTF-8\"";
                let challenge = header::HeaderValue::from_static(challenge);
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Self::TooMany => {
                headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
            }
            Self::TooSlow | Self::TooLarge => {
                headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
            }
            Self::NoRight | Self::AnotherSite => {}
        }
        response
    }
}
