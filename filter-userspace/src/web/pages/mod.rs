//! The pages of the web console: complete HTML that works without scripts.

mod act;
mod changes;
mod check;
mod failure;
mod layout;
mod lists;
mod offers;
mod overview;
mod traffic;
mod visit;

use std::sync::{Arc, LazyLock};

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use axum::{Extension, Router};
use maud::html;

pub(super) use self::failure::rejected;
use self::layout::{Entry, Frame};
use super::site::Site;

/// A page.
pub(super) struct Page {
    pub(super) path: &'static str,
    /// The path of the navigation entry to which it belongs; empty for none.
    entry: &'static str,
    /// The name of its own navigation entry.
    name: Option<&'static str>,
    handler: MethodRouter<Arc<Site>>,
}

/// All pages; those with a name are the navigation.
pub(super) static PAGES: LazyLock<[Page; 9]> = LazyLock::new(|| {
    [
        named("/", "Overview", get(overview::page)),
        named("/blocked", "Blocked traffic", get(traffic::blocked)),
        named("/accepted", "Accepted traffic", get(traffic::accepted)),
        named("/lists", "Lists", get(lists::page)),
        named("/check", "Check an address", get(check::page)),
        named("/changes", "Changes", get(changes::page)),
        below("", "/record/{id}", get(traffic::record)),
        below("/lists", "/act", get(act::confirm).post(act::act)),
        below("/lists", "/done", get(act::done)),
    ]
});

/// The navigation.
static NAVIGATION: LazyLock<Vec<Entry>> =
    LazyLock::new(|| PAGES.iter().filter_map(|page| Some((page.path, page.name?))).collect());

const fn named(path: &'static str, name: &'static str, handler: MethodRouter<Arc<Site>>) -> Page {
    Page { path, entry: path, name: Some(name), handler }
}

const fn below(entry: &'static str, path: &'static str, handler: MethodRouter<Arc<Site>>) -> Page {
    Page { path, entry, name: None, handler }
}

/// The routes of all pages.
pub(super) fn routes() -> Router<Arc<Site>> {
    PAGES.iter().fold(Router::new(), |router, page| {
        let frame = Extension(Frame::new(&NAVIGATION, page.entry));
        router.route(page.path, page.handler.clone().route_layer(frame))
    })
}

/// The reply to a path that does not exist.
pub(super) async fn not_found() -> Response {
    let body = html! {
        h1 { "Page not found" }
        p { a href="/" { "Overview" } }
    };
    let page = Frame::new(&NAVIGATION, "").page("Page not found", &body);
    (StatusCode::NOT_FOUND, page).into_response()
}
