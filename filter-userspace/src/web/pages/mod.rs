//! What people look at: whole pages, made here, that work without scripts.

mod act;
mod check;
mod layout;
mod lists;
mod overview;
mod traffic;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use maud::{Markup, html};

use self::layout::Place;
pub(in crate::web) use self::traffic::encoded;
use super::Site;
use super::error::{ApiError, status};
use crate::control::protocol::Failure;

pub(super) fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/", get(overview::page))
        .route("/blocked", get(traffic::blocked))
        .route("/accepted", get(traffic::accepted))
        .route("/record/{id}", get(traffic::record))
        .route("/lists", get(lists::page))
        .route("/check", get(check::page))
        .route("/changes", get(lists::changes))
        .route("/act", get(act::confirm).post(act::act))
        .route("/done", get(act::done))
}

/// What goes wrong, as people read it.
struct PageError {
    place: Place,
    failure: Failure,
}

impl PageError {
    fn at(place: Place) -> impl Fn(Failure) -> Self {
        move |failure| Self { place, failure }
    }

    fn of(place: Place, error: ApiError) -> Self {
        Self { place, failure: error.0 }
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let body = html! {
            h1 { "That did not work" }
            p.alarm role="alert" { (self.failure.message) }
        };
        let page = layout::page(self.place, "That did not work", &body);
        (status(self.failure.kind), page).into_response()
    }
}

/// What a person sees who shows no token: how to get one.
pub(super) fn no_token() -> Markup {
    let body = html! {
        h1 { "A token is needed" }
        p { "The console and the API answer clients that show a token. To make one:" }
        ol {
            li { "On the mail host, run " code { "mxdp token NAME" } " (with " code { "--rights write" }
                " if it may change lists)." }
            li { "Put the " code { "[[web.tokens]]" } " table that it prints into the configuration, "
                "usually " code { "/etc/mxdp/mxdp.toml" } "." }
            li { "Run " code { "mxdp reload" } "." }
            li { "Load this page again, and enter the token as the password; the user name is ignored." }
        }
        p.quiet { "Scripts send it as " code { "Authorization: Bearer TOKEN" } "." }
    };
    layout::bare("A token is needed", &body)
}

type Shown = Result<Markup, PageError>;

pub(super) async fn not_found() -> Response {
    let body = html! {
        h1 { "There is no such page" }
        p { a href="/" { "Overview" } }
    };
    (StatusCode::NOT_FOUND, layout::page(Place::None, "No such page", &body)).into_response()
}
