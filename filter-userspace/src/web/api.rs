//! The API for scripts: each handler sends a request to the daemon and answers in JSON.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::http::request::Parts as HttpParts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use futures_util::stream;
use serde::Deserialize;
use serde_json::Value;

use super::access::Caller;
use super::conflict::{approved_first, conflict};
use super::error::ApiError;
use super::parts::{JsonBody, Network, NoQuery, Parts, encoded};
use super::site::Site;
use crate::config::web::Rights;
use crate::control::protocol::{Request, RuntimeList, WINDOW_LIMIT, Windowed};
use crate::record::export::Csv;
use crate::record::{Changes, PAGE_LIMIT, Page, Stored};

type Answer = Result<Json<Value>, ApiError>;

/// The most records of an export; what is more is asked for in parts.
const EXPORT: usize = 100_000;

pub(super) fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/status", get(status))
        .route("/traffic", get(traffic))
        .route("/traffic.csv", get(export))
        .route("/summary", get(summary))
        .route("/changes", get(changes))
        .route("/lookup", get(lookup))
        .route("/explain", get(explain))
        .route("/entries/{list}", get(entries).post(add_entry).delete(remove_entry))
        .route("/temporary", get(temporary).post(add_temporary).delete(remove_temporary))
        .route("/relay", get(relay))
        .route("/relay/resume", post(resume))
        .route("/reload", post(reload))
        .fallback(|| async { not_found() })
        .method_not_allowed_fallback(|| async { not_allowed() })
}

fn not_found() -> Response {
    let body = serde_json::json!({ "error": { "kind": "not_found", "message": "no such path" } });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

fn not_allowed() -> Response {
    let message = "this path has no such method";
    let body = serde_json::json!({ "error": { "kind": "bad_request", "message": message } });
    (StatusCode::METHOD_NOT_ALLOWED, Json(body)).into_response()
}

async fn ask(site: &Site, caller: &Caller, request: Request) -> Answer {
    Ok(Json(site.ask(request, caller.peer()).await?))
}

async fn status(
    _: NoQuery,
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    ask(&site, &caller, Request::Status).await
}

async fn traffic(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Parts::of(query.as_deref())?.into_inner();
    ask(&site, &caller, Request::Traffic { query }).await
}

/// Everything that a search finds, page after page as the client reads.
async fn export(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Parts::of(query.as_deref())?.into_inner();
    if query.iter().any(|(name, _)| name == "limit" || name == "before") {
        return Err(ApiError::bad_request("an export has all pages: neither `limit` nor `before`"));
    }
    // What is wrong with the search is said before the answer begins.
    let (first, so_far, skipped) =
        export_page(&site, &caller, query.clone(), SoFar::default()).await?;
    let said = Arc::new(skipped.clone());
    let pages = stream::try_unfold((Some(first), so_far), move |(ready, so_far)| {
        let (site, caller, query) = (site.clone(), caller.clone(), query.clone());
        let said = said.clone();
        async move {
            if let Some(text) = ready {
                return Ok(Some((text, (None, so_far))));
            }
            if so_far.before.is_none() {
                return Ok::<_, std::io::Error>(None);
            }
            // A reload may have taken the token away since the export began.
            if !caller.still_may(&site.rules().web, Rights::Read) {
                return Err(std::io::Error::other("who asked may no longer read"));
            }
            // After an error the connection ends before its time: the client knows.
            let page = export_page(&site, &caller, query, so_far).await;
            let (text, so_far, skipped) =
                page.map_err(|error| std::io::Error::other(error.0.message))?;
            // What is known to be missing was said at the beginning; the next export says this.
            if skipped.iter().any(|missing| !said.contains(missing)) {
                return Err(std::io::Error::other(skipped.join("; ")));
            }
            Ok(Some((text, (None, so_far))))
        }
    });
    let body = Body::from_stream(pages);
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    // Who opens the file later sees by its name that it is not everything.
    let file = if skipped.is_empty() {
        "attachment; filename=\"mxdp-traffic.csv\""
    } else {
        "attachment; filename=\"mxdp-traffic-partial.csv\""
    };
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(file));
    say_partial(&mut response, &skipped);
    Ok(response)
}

/// How far an export is.
#[derive(Clone, Copy, Default)]
struct SoFar {
    records: usize,
    /// Where it goes on, if there may be more.
    before: Option<u64>,
}

async fn export_page(
    site: &Site,
    caller: &Caller,
    mut query: Vec<(String, String)>,
    SoFar { records, before }: SoFar,
) -> Result<(Bytes, SoFar, Vec<String>), ApiError> {
    // Where no more may be written, one is still looked for: without it nothing is missing.
    let limit = (EXPORT - records).clamp(1, PAGE_LIMIT);
    query.push(("limit".to_owned(), limit.to_string()));
    query.extend(before.map(|before| ("before".to_owned(), before.to_string())));
    let page: Page = site.ask(Request::Traffic { query }, caller.peer()).await?;
    // Of a page that looked at its share there may be few or none.
    let records = records + page.records.len();
    if records > EXPORT {
        let more = format!("more than {EXPORT} records: narrow the search, by times for example");
        return Err(ApiError::bad_request(more));
    }
    let write = |records: &[Stored]| -> std::io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let mut csv =
            if before.is_none() { Csv::with_heading(&mut text)? } else { Csv::rows(&mut text) };
        for stored in records {
            csv.write(stored)?;
        }
        csv.finish()?;
        Ok(text)
    };
    let text = write(&page.records).map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok((text.into(), SoFar { records, before: page.next }, page.skipped))
}

async fn summary(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let parts = Parts::of(query.as_deref())?;
    parts.only(&["since", "until"])?;
    let text = |name: &str| parts.get(name).map(str::to_owned);
    ask(&site, &caller, Request::Summary { since: text("since"), until: text("until") }).await
}

async fn changes(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let parts = Parts::of(query.as_deref())?;
    parts.only(&["limit"])?;
    let limit = parts.parse("limit")?.unwrap_or(50);
    if !(1..=PAGE_LIMIT).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit: 1 to {PAGE_LIMIT}")));
    }
    let Changes { changes, skipped } = site.ask(Request::Changes { limit }, caller.peer()).await?;
    let mut response = Json(changes).into_response();
    say_partial(&mut response, &skipped);
    Ok(response)
}

/// What of the answer is missing, where its body has no place to say so.
fn say_partial(response: &mut Response, skipped: &[String]) {
    if let Ok(missing) = HeaderValue::try_from(skipped.join("; "))
        && !skipped.is_empty()
    {
        response.headers_mut().insert("x-partial", missing);
    }
}

async fn lookup(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let parts = Parts::of(query.as_deref())?;
    parts.only(&["ip"])?;
    ask(&site, &caller, Request::Lookup { addresses: vec![parts.need("ip")?] }).await
}

async fn explain(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let parts = Parts::of(query.as_deref())?;
    parts.only(&["ip", "helo", "from", "rcpt", "size", "tls", "certificate", "relay"])?;
    ask(&site, &caller, Request::Explain(parts.envelope()?)).await
}

/// A list by its name in a path.
struct List(RuntimeList);

impl<S: Send + Sync> FromRequestParts<S> for List {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut HttpParts, state: &S) -> Result<Self, ApiError> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        match name.as_ref().map(|Path(name)| name.as_str()) {
            Ok("approved") => Ok(Self(RuntimeList::Approved)),
            Ok("blocked") => Ok(Self(RuntimeList::Blocked)),
            _ => Err(ApiError::bad_request("the lists are `approved` and `blocked`")),
        }
    }
}

async fn entries(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    List(list): List,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let parts = Parts::of(query.as_deref())?;
    parts.only(&["search", "after", "limit"])?;
    let window = parts.window(WINDOW_LIMIT)?;
    let path = format!("/api/v1/entries/{}", list.name());
    let request = Request::RuntimePart { list, window };
    let part: Windowed<Value> = site.ask(request, caller.peer()).await?;
    Ok(windowed(&path, &parts, part))
}

/// A part of a list: its entries as an array, and where the next part is by a Link of
/// relation `next` (RFC 8288), as long as there is one.
fn windowed(path: &str, parts: &Parts, part: Windowed<Value>) -> Response {
    let Windowed { entries, next, found, .. } = part;
    let mut response = Json(entries).into_response();
    let headers = response.headers_mut();
    headers.insert("x-total-count", HeaderValue::from(found));
    if let Some(next) = next {
        let mut link = format!("<{path}?after={}", encoded(&next.to_string()));
        for name in ["search", "limit"] {
            if let Some(value) = parts.get(name) {
                link.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        link.push_str(">; rel=\"next\"");
        if let Ok(link) = HeaderValue::try_from(link) {
            headers.insert(header::LINK, link);
        }
    }
    response
}

/// The body of a request that adds an entry.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Addition {
    prefix: Network,
    #[serde(default)]
    note: Option<String>,
    #[serde(default)]
    expires_in_s: Option<u64>,
    #[serde(default)]
    permanent: bool,
    #[serde(default)]
    force: bool,
}

async fn add_entry(
    _: NoQuery,
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    List(list): List,
    JsonBody(addition): JsonBody<Addition>,
) -> Answer {
    let Addition { prefix: Network(prefix), note, expires_in_s, permanent, force } = addition;
    let request = Request::RuntimeAdd { list, prefix, note, expires_in_s, permanent, force };
    let mut entry: Value = site.ask(request, caller.peer()).await?;
    if let Some(warning) = conflict(&site, &caller, list, prefix).await
        && let Some(entry) = entry.as_object_mut()
    {
        entry.insert("warning".to_owned(), warning.into());
    }
    Ok(Json(entry))
}

async fn remove_entry(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    List(list): List,
    RawQuery(query): RawQuery,
) -> Answer {
    let parts = Parts::of(query.as_deref())?;
    parts.only(&["prefix"])?;
    ask(&site, &caller, Request::RuntimeRemove { list, prefix: parts.network("prefix")? }).await
}

async fn temporary(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let parts = Parts::of(query.as_deref())?;
    parts.only(&["search", "after", "limit"])?;
    let window = parts.window(WINDOW_LIMIT)?;
    let part = site.ask(Request::TemporaryPart { window }, caller.peer()).await?;
    Ok(windowed("/api/v1/temporary", &parts, part))
}

/// The body of a request that blocks an address temporarily.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    address: IpAddr,
    seconds: u64,
    #[serde(default)]
    force: bool,
}

async fn add_temporary(
    _: NoQuery,
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    JsonBody(Block { address, seconds, force }): JsonBody<Block>,
) -> Answer {
    let mut entry: Value =
        site.ask(Request::TemporaryAdd { address, seconds, force }, caller.peer()).await?;
    if let Some(warning) = approved_first(&site, &caller, address, address.into()).await
        && let Some(entry) = entry.as_object_mut()
    {
        entry.insert("warning".to_owned(), warning.into());
    }
    Ok(Json(entry))
}

async fn remove_temporary(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let parts = Parts::of(query.as_deref())?;
    parts.only(&["address"])?;
    ask(&site, &caller, Request::TemporaryRemove { address: parts.need("address")? }).await
}

async fn relay(
    _: NoQuery,
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    ask(&site, &caller, Request::RelayList).await
}

/// The body of a request that resumes hosts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resumed {
    #[serde(default)]
    address: Option<IpAddr>,
    #[serde(default)]
    customer: Option<String>,
    #[serde(default)]
    all: bool,
}

async fn resume(
    _: NoQuery,
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    JsonBody(Resumed { address, customer, all }): JsonBody<Resumed>,
) -> Answer {
    // An empty object is a mistake, and not everybody.
    if usize::from(address.is_some()) + usize::from(customer.is_some()) + usize::from(all) != 1 {
        return Err(ApiError::bad_request("name one of `address`, `customer` and `all`: true"));
    }
    ask(&site, &caller, Request::RelayResume { address, customer }).await
}

async fn reload(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let parts = Parts::of(query.as_deref())?;
    parts.only(&["accept"])?;
    let accept = parts.get("accept").map(str::to_owned).into_iter().collect();
    ask(&site, &caller, Request::Reload { accept }).await
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tokio::sync::mpsc;

    use super::*;
    use crate::config::web::Web;
    use crate::control::server::{Desk, Incoming};
    use crate::record::{Reason, Record, Stage, Status};
    use crate::web::{Publisher, Rules};

    /// What a search meets: so many records that match, of which each page finds some,
    /// and pages without any behind them.
    #[derive(Clone, Copy)]
    struct Found {
        records: u64,
        of_a_page: u64,
        empty_pages: u64,
    }

    impl Found {
        /// The page as a store gives it: cursors fall, and the last page has none.
        fn page(self, query: &[(String, String)]) -> Page {
            let number = |name: &str| {
                let part = query.iter().find(|(known, _)| known == name)?;
                part.1.parse::<u64>().ok()
            };
            let limit = number("limit").unwrap();
            let end = number("before").unwrap_or(self.records + self.empty_pages + 1);
            if end <= self.empty_pages + 1 {
                let next = end - 1;
                return Page {
                    records: Vec::new(),
                    next: (next > 1).then_some(next),
                    partial: true,
                    skipped: Vec::new(),
                };
            }
            let count = limit.min(self.of_a_page).min(end - 1 - self.empty_pages);
            let ip = IpAddr::from([192, 0, 2, 1]);
            let record = |id| Stored {
                id,
                record: Record::new(
                    1_795_000_000_000,
                    ip,
                    Status::Delivered,
                    Stage::read("backend"),
                    Reason::Accepted,
                ),
            };
            let records: Vec<_> = (end - count..end).rev().map(record).collect();
            let next = end - count;
            let (next, skipped) = ((next > 1).then_some(next), Vec::new());
            Page { records, next, partial: count < limit, skipped }
        }
    }

    /// The lines of an export below its heading, and why it ended before its time.
    async fn exported(found: Found) -> (usize, Option<String>) {
        let (requests, mut asked) = mpsc::channel::<Incoming>(1);
        tokio::spawn(async move {
            while let Some(incoming) = asked.recv().await {
                let Request::Traffic { query } = &incoming.request else { continue };
                let page = found.page(query);
                incoming.answer(Ok(page));
            }
        });
        let desk = Desk { requests, audit: Arc::new(|_| {}) };
        let (listen, tokens) = (Vec::new(), Vec::new());
        let web = Web { listen, certificate: None, loopback: Rights::Read, tokens };
        let rules = Publisher::new(Rules::load(&web, "").unwrap());
        let site = State(Arc::new(Site::new(desk, &rules)));
        let (who, address) = ("this host".to_owned(), IpAddr::from([127, 0, 0, 1]));
        let (rights, token) = (Rights::Read, None);
        let caller = Caller { who, address, rights, token, is_from_elsewhere: false };
        let response = export(site, Extension(caller), RawQuery(None)).await.unwrap();
        let mut body = response.into_body().into_data_stream();
        let mut lines = 0;
        while let Some(part) = body.next().await {
            match part {
                Ok(text) => lines += text.iter().filter(|byte| **byte == b'\n').count(),
                Err(error) => return (lines - 1, Some(error.to_string())),
            }
        }
        (lines - 1, None)
    }

    #[tokio::test]
    async fn an_export_is_all_of_a_search_or_fails() {
        let page = PAGE_LIMIT as u64;
        let most = EXPORT as u64;
        for (records, of_a_page, empty_pages) in [
            (0, page, 0),
            (1, page, 0),
            (2_500, page, 0),
            // Rare ones: most pages find none, and there are more pages than full ones may be.
            (250, 1, 0),
            (250, 1, 250),
            (0, 1, 250),
            (most, page, 0),
            (most, page - 1, 0),
            // After the last that it may have, there was more to look at, and none in it.
            (most, page, 3),
        ] {
            let found = Found { records, of_a_page, empty_pages };
            let lines = usize::try_from(records).unwrap();
            assert_eq!(exported(found).await, (lines, None), "{records} by {of_a_page}");
        }
        for (records, of_a_page) in [(most + 1, page), (most + 1, page - 1), (2 * most, page)] {
            let (lines, error) = exported(Found { records, of_a_page, empty_pages: 0 }).await;
            assert_eq!(lines, EXPORT, "{records} by {of_a_page}");
            assert!(error.is_some_and(|error| error.starts_with("more than 100000 records")));
        }
    }
}
