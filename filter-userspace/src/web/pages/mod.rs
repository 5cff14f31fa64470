//! The pages of the web console: complete HTML that works without scripts.

mod act;
mod check;
mod failure;
mod layout;
mod lists;
mod offers;
mod overview;
mod traffic;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use maud::html;

pub(super) use self::failure::rejected;
use self::layout::Place;
use super::site::Site;

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

pub(super) async fn not_found() -> Response {
    let body = html! {
        h1 { "Page not found" }
        p { a href="/" { "Overview" } }
    };
    (StatusCode::NOT_FOUND, layout::page(Place::None, "Page not found", &body)).into_response()
}
