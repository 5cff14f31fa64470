//! The table of endpoints: a row gives the route, the access right, the parameters, and by
//! the type of its handler the schemas of the body and of the reply. The routes, the access
//! control and the description are made from the rows.

use std::sync::{Arc, LazyLock};

use axum::http::Method;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::api::{answer, entries, export, log, state};
use super::endpoint::{Endpoint, Parameter, Reply};
use super::schema::Schema::{Choice, Filled, Flag, Ip, Network, Number, Size, Text};
use super::site::Site;
use super::{metrics, openapi};
use crate::config::web::Rights;

/// Where the API begins; its paths answer errors in JSON.
const API: &str = "/api/v1";

/// All endpoints.
pub(super) static ENDPOINTS: LazyLock<Vec<Endpoint>> =
    LazyLock::new(|| questions().into_iter().chain(changes()).chain(monitoring()).collect());

fn questions() -> [Endpoint; 10] {
    [
        Endpoint::get(
            "/api/v1/status",
            "State of the daemon, the filter, backends and DNS lists",
            &[],
            state::status,
        ),
        Endpoint::get(
            "/api/v1/traffic",
            "Search of the mail log, newest first, one page at a time, with the filters of `mxdp traffic`",
            SEARCH,
            log::traffic,
        ),
        Endpoint::get_text(
            "/api/v1/traffic.csv",
            "All results of a search as CSV; the response breaks off after 100,000 entries",
            EXPORT,
            "text/csv",
            export::export,
        ),
        Endpoint::get(
            "/api/v1/summary",
            "Summary of a time range, in steps",
            SUMMARY,
            log::summary,
        ),
        Endpoint::get(
            "/api/v1/changes",
            "Changes that operators made, newest first",
            CHANGES,
            log::changes,
        ),
        Endpoint::get(
            "/api/v1/lookup",
            "What happens to an address in the lists and in the kernel, like `mxdp lookup --live`",
            &[("ip", Ip, true, "The address")],
            state::lookup,
        ),
        Endpoint::get(
            "/api/v1/explain",
            "What would happen to a message, stage by stage, like `mxdp explain --live`",
            EXPLAIN,
            state::explain,
        ),
        Endpoint::get(
            "/api/v1/entries/{list}",
            "Managed entries of the list `approved` or `blocked`, one part at a time",
            PART,
            entries::list,
        ),
        Endpoint::get(
            "/api/v1/temporary",
            "Temporary blocks, one part at a time",
            PART,
            entries::temporary,
        ),
        Endpoint::get("/api/v1/relay", "Suspended relay hosts", &[], entries::suspended),
    ]
}

fn changes() -> [Endpoint; 6] {
    [
        Endpoint::post("/api/v1/entries/{list}", "Add or replace a managed entry", entries::add)
            .warns(),
        Endpoint::change(
            Method::DELETE,
            "/api/v1/entries/{list}",
            "Remove a managed entry",
            &[("prefix", Network, true, "The network, exactly as listed")],
            entries::remove,
        ),
        Endpoint::post("/api/v1/temporary", "Block an address temporarily", entries::block).warns(),
        Endpoint::change(
            Method::DELETE,
            "/api/v1/temporary",
            "Lift a temporary block",
            &[("address", Ip, true, "The address")],
            entries::lift,
        ),
        Endpoint::post("/api/v1/relay/resume", "Resume suspended relay hosts", entries::resume),
        Endpoint::change(
            Method::POST,
            "/api/v1/reload",
            "Reload configuration and lists",
            ACCEPT,
            state::reload,
        ),
    ]
}

fn monitoring() -> [Endpoint; 4] {
    [
        Endpoint::plain(
            "/openapi.json",
            "Description of the API in OpenAPI 3.1",
            Rights::Read,
            Reply::Json(|| json!({"type": "object"})),
            get(|| async { Json(openapi::describe(&ENDPOINTS)) }),
        ),
        Endpoint::plain(
            "/metrics",
            "Metrics for Prometheus",
            Rights::Read,
            Reply::Text("text/plain"),
            get(metrics::metrics),
        ),
        Endpoint::plain(
            "/healthz",
            "Whether mxdp is running",
            Rights::None,
            Reply::Text("text/plain"),
            get(|| async { "ok\n" }),
        ),
        Endpoint::plain(
            "/readyz",
            "Whether the filter is attached and a backend is up",
            Rights::None,
            Reply::Text("text/plain"),
            get(metrics::ready),
        ),
    ]
}

/// The rows as a table in Markdown, for the reference.
pub(crate) fn reference() -> String {
    openapi::table(&ENDPOINTS)
}

/// The routes of all rows.
pub(super) fn routes() -> Router<Arc<Site>> {
    let (mut root, mut inner) = (Router::new(), Router::new());
    for endpoint in ENDPOINTS.iter() {
        let handler = endpoint.handler.clone();
        match endpoint.path.strip_prefix(API) {
            Some(path) => inner = inner.route(path, handler),
            None => root = root.route(endpoint.path, handler),
        }
    }
    let inner = inner
        .fallback(|| async { answer::not_found() })
        .method_not_allowed_fallback(|| async { answer::not_allowed() });
    root.nest(API, inner)
}

/// The right that a request needs: that of its row, and of several rows the greatest. What is
/// in no row, such as a page or a row that was forgotten, needs the right to read, or to write
/// where the method may change something.
pub(super) fn rights(method: &Method, path: &str) -> Rights {
    let rows = ENDPOINTS.iter().filter(|row| {
        let is_method = row.method == *method || row.method == Method::GET && is_read(method);
        is_method && row.is_at(path)
    });
    match rows.map(|row| row.rights).max() {
        Some(rights) => rights,
        None if is_open(path) => Rights::None,
        None if is_read(method) => Rights::Read,
        None => Rights::Write,
    }
}

/// Whether a path answers without a token: it reports only that mxdp is there.
pub(super) fn is_open(path: &str) -> bool {
    let mut rows = ENDPOINTS.iter().filter(|row| row.is_at(path)).peekable();
    rows.peek().is_some() && rows.all(|row| row.rights == Rights::None)
}

/// Whether a path is for programs: no link of another site may lead to it.
pub(super) fn is_for_programs(path: &str) -> bool {
    path.starts_with("/api/") || ENDPOINTS.iter().any(|row| row.is_at(path))
}

fn is_read(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// The filters of a search in the mail log.
const SEARCH: &[Parameter] = &[
    ("type", Choice(&["blocked", "accepted"]), false, "One view only"),
    ("since", Text, false, "Start: 24h, 7d, 2026-11-23, 2026-11-23T04:14:07Z"),
    ("until", Text, false, "End (exclusive)"),
    ("direction", Choice(&["inbound", "outgoing"]), false, "One direction only"),
    ("status", Text, false, "temporary, permanent, dropped or delivered, separated by commas"),
    ("stage", Text, false, "Stages, separated by commas"),
    ("reason", Text, false, "Reasons, separated by commas"),
    ("ip", Network, false, "A client or network"),
    ("country", Text, false, "Country codes, separated by commas; `none` if it is not known"),
    ("sender", Text, false, "Envelope sender, `*` for any text; `<>` is the null sender"),
    ("recipient", Text, false, "Envelope recipient, `*` for any text"),
    ("reference", Text, false, "A reference or session"),
    ("text", Text, false, "Words of Subject or Message-ID"),
    ("after", Text, false, "Newer than this `id`"),
    ("before", Text, false, "Older than this `id`: the `next` of the previous page"),
    ("limit", Number, false, "Maximum number of entries of a page; default 50"),
];

/// The filters of an export, which has all pages.
const EXPORT: &[Parameter] = SEARCH.split_at(SEARCH.len() - 2).0;

/// The parameters of a long list. A Link header leads to the next part.
const PART: &[Parameter] = &[
    ("search", Text, false, "An address, a network, or a word of the note"),
    ("after", Network, false, "After this network; the Link header of relation `next` has it"),
    ("limit", Number, false, "Maximum number of entries; default 1000"),
];

const SUMMARY: &[Parameter] = &[
    ("since", Text, false, "Start; default 24h"),
    ("until", Text, false, "End (exclusive); default now"),
];

const CHANGES: &[Parameter] = &[("limit", Number, false, "Maximum number of changes; default 50")];

const EXPLAIN: &[Parameter] = &[
    ("ip", Ip, true, "The client"),
    ("rcpt", Filled, true, "Envelope recipient"),
    ("from", Text, false, "Envelope sender; empty is the null sender"),
    ("helo", Text, false, "The client's HELO name"),
    ("size", Size, false, "The size that MAIL declares, in bytes"),
    ("tls", Choice(&["none", "1.2", "1.3"]), false, "TLS version"),
    ("certificate", Flag, false, "Whether the client shows a valid certificate"),
    ("relay", Flag, false, "Whether the message is outgoing"),
];

const ACCEPT: &[Parameter] = &[(
    "accept",
    Text,
    false,
    "A file, `ldap:NAME` or `spf:DOMAIN` that is accepted however few entries are left",
)];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn a_search_has_the_parts_of_a_query() {
        let named: Vec<_> = SEARCH.iter().map(|part| part.0).collect();
        assert_eq!(named.len(), crate::record::PARTS.len());
        assert!(crate::record::PARTS.iter().all(|part| named.contains(part)));
    }

    #[test]
    fn a_body_is_described_with_the_fields_that_are_read() {
        let fields = |schema: Value| -> BTreeSet<_> {
            schema["properties"].as_object().unwrap().keys().cloned().collect()
        };
        let bodies: Vec<_> = ENDPOINTS.iter().filter_map(|row| row.body).collect();
        assert_eq!(bodies.len(), 3);
        for [described, read] in bodies {
            assert_eq!(fields(described()), fields(read()));
        }
    }

    #[test]
    fn only_health_is_open_and_only_writers_change_anything() {
        for row in ENDPOINTS.iter() {
            let path = row.path.replace("{list}", "blocked");
            let usual = if is_read(&row.method) { Rights::Read } else { Rights::Write };
            let is_health = ["/healthz", "/readyz"].contains(&&*path);
            let expected = if is_health { Rights::None } else { usual };
            assert_eq!(rights(&row.method, &path), expected, "{} {path}", row.method);
            assert_eq!(is_open(&path), is_health, "{path}");
            assert!(is_for_programs(&path), "{path}");
        }
        assert_eq!(rights(&Method::HEAD, "/healthz"), Rights::None);
        assert_eq!(rights(&Method::POST, "/healthz"), Rights::None);
        let pages = ["/", "/healthz/", "//healthz", "/healthz/../metrics", "/forgotten"];
        for path in pages.into_iter().chain(["/api/v1/forgotten", "/api/v1/entries/", "/act"]) {
            assert_eq!(rights(&Method::GET, path), Rights::Read, "{path}");
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert_eq!(rights(&method, path), Rights::Write, "{method} {path}");
            }
            assert_eq!(is_for_programs(path), path.starts_with("/api/"), "{path}");
        }
    }
}
