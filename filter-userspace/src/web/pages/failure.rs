//! Failures and rejections, as people read them.

use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::layout::{self, Frame};
use crate::control::protocol::Failure;
use crate::web::error::{Rejection, status};

/// A page, or why it cannot be shown.
pub(super) type Shown = Result<Markup, PageError>;

/// A failure, as a page shows it.
pub(super) struct PageError {
    pub(super) frame: Frame,
    pub(super) failure: Failure,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let body = html! {
            h1 { "Action failed" }
            p.alarm role="alert" { (self.failure.message) }
        };
        let page = self.frame.page("Action failed", &body);
        (status(self.failure.kind), page).into_response()
    }
}

/// A rejection as a person reads it: a browser shows this when its dialogue is left without a
/// token.
pub(in crate::web) fn rejected(rejection: Rejection) -> Response {
    let mut response = rejection.into_response();
    if rejection == Rejection::NoToken {
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = no_token().into_string().into();
    }
    response
}

/// Explains how to get a token.
fn no_token() -> Markup {
    let body = html! {
        h1 { "A token is required" }
        p { "The web console and the API require a token. To create one:" }
        ol {
            li { "On the mail host, run " code { "mxdp token NAME" } " (with " code { "--rights write" }
                " if the token may change lists)." }
            li { "Add the " code { "[[web.tokens]]" } " table that it prints to the configuration, "
                "usually " code { "/etc/mxdp/mxdp.toml" } "." }
            li { "Run " code { "mxdp reload" } "." }
            li { "Reload this page and enter the token as the password; the user name is ignored." }
        }
        p.quiet { "Scripts send it as " code { "Authorization: Bearer TOKEN" } "." }
    };
    layout::bare("A token is required", &body)
}
