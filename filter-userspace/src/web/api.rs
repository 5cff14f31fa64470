//! The interface for scripts: each path is a request of the daemon's, as JSON.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, RawQuery, Request as HttpRequest, State};
use axum::http::request::Parts as HttpParts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use futures_util::stream;
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Site;
use super::access::Caller;
use super::error::ApiError;
use crate::control::protocol::{ExplainedEnvelope, Request, RuntimeList};
use crate::record::export::Csv;
use crate::record::{PAGE_LIMIT, Page, Stored};

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

/// The parts of a query string.
#[derive(Clone)]
pub(super) struct Parts(Vec<(String, String)>);

impl Parts {
    pub(super) fn of(query: Option<&str>) -> Result<Self, ApiError> {
        let uri = format!("/?{}", query.unwrap_or_default()).parse();
        let uri = uri.map_err(|_| ApiError::bad_request("the query string is malformed"))?;
        let parsed = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
        let parsed = parsed.map_err(|error| ApiError::bad_request(error.body_text()))?;
        Ok(Self(parsed.0))
    }

    pub(super) fn into_inner(self) -> Vec<(String, String)> {
        self.0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter()
    }

    /// The value of a part; empty is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    fn parse<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong = || ApiError::bad_request(format!("{name}: `{text}` is not understood"));
        text.parse().map(Some).map_err(|_| wrong())
    }

    fn need<T: std::str::FromStr>(&self, name: &str) -> Result<T, ApiError> {
        self.parse(name)?.ok_or_else(|| ApiError::bad_request(format!("{name} is needed")))
    }

    /// A mistyped part must not be passed over.
    fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::bad_request(format!(
                "there is no `{name}` here; there are {}",
                known.join(", ")
            ))),
        }
    }

    /// The message that nobody sends.
    pub(super) fn envelope(&self) -> Result<ExplainedEnvelope, ApiError> {
        Ok(ExplainedEnvelope {
            ip: self.need("ip")?,
            helo: self.get("helo").map(str::to_owned),
            from: self.get("from").unwrap_or_default().to_owned(),
            rcpt: self.need("rcpt")?,
            size: self.parse("size")?,
            tls: match self.get("tls") {
                None | Some("none") => None,
                Some("1.2") => Some(12),
                Some("1.3") => Some(13),
                Some(_) => return Err(ApiError::bad_request("tls: none, 1.2 or 1.3")),
            },
            certificate: self.parse("certificate")?.unwrap_or(false),
            relay: self.parse("relay")?.unwrap_or(false),
        })
    }
}

/// A body of JSON; what is wrong with it is said as everything else is.
struct JsonBody<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: HttpRequest, state: &S) -> Result<Self, ApiError> {
        // A form of another site cannot say this of itself.
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
        if kind != Some("application/json") {
            return Err(ApiError::bad_request("the body must be application/json"));
        }
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|error| ApiError::bad_request(error.body_text()))?;
        let value = serde_json::from_slice(&bytes);
        value.map(Self).map_err(|error| ApiError::bad_request(format!("the body: {error}")))
    }
}

async fn ask(site: &Site, caller: &Caller, request: Request) -> Answer {
    Ok(Json(site.ask(request, caller.peer()).await?))
}

async fn status(State(site): State<Arc<Site>>, Extension(caller): Extension<Caller>) -> Answer {
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
    let (first, so_far) = export_page(&site, &caller, query.clone(), SoFar::default()).await?;
    let pages = stream::try_unfold((Some(first), so_far), move |(ready, so_far)| {
        let (site, caller, query) = (site.clone(), caller.clone(), query.clone());
        async move {
            if let Some(text) = ready {
                return Ok(Some((text, (None, so_far))));
            }
            if so_far.before.is_none() {
                return Ok::<_, std::io::Error>(None);
            }
            // After an error the connection ends before its time: the client knows.
            let page = export_page(&site, &caller, query, so_far).await;
            let (text, so_far) = page.map_err(|error| std::io::Error::other(error.0.message))?;
            Ok(Some((text, (None, so_far))))
        }
    });
    let body = Body::from_stream(pages);
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let file = HeaderValue::from_static("attachment; filename=\"mxdp-traffic.csv\"");
    headers.insert(header::CONTENT_DISPOSITION, file);
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
) -> Result<(Bytes, SoFar), ApiError> {
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
    Ok((text.into(), SoFar { records, before: page.next }))
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
) -> Answer {
    let parts = Parts::of(query.as_deref())?;
    parts.only(&["limit"])?;
    let limit = parts.parse("limit")?.unwrap_or(50);
    if !(1..=PAGE_LIMIT).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit: 1 to {PAGE_LIMIT}")));
    }
    ask(&site, &caller, Request::Changes { limit }).await
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
) -> Answer {
    ask(&site, &caller, Request::RuntimeList { list }).await
}

/// What is to be listed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Addition {
    prefix: IpNet,
    #[serde(default)]
    note: Option<String>,
    #[serde(default)]
    expires_in_s: Option<u64>,
    #[serde(default)]
    force: bool,
}

async fn add_entry(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    List(list): List,
    JsonBody(addition): JsonBody<Addition>,
) -> Answer {
    let Addition { prefix, note, expires_in_s, force } = addition;
    ask(&site, &caller, Request::RuntimeAdd { list, prefix, note, expires_in_s, force }).await
}

async fn remove_entry(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    List(list): List,
    RawQuery(query): RawQuery,
) -> Answer {
    let parts = Parts::of(query.as_deref())?;
    parts.only(&["prefix"])?;
    ask(&site, &caller, Request::RuntimeRemove { list, prefix: parts.need("prefix")? }).await
}

async fn temporary(State(site): State<Arc<Site>>, Extension(caller): Extension<Caller>) -> Answer {
    ask(&site, &caller, Request::TemporaryList).await
}

/// What is to be blocked for a time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    address: IpAddr,
    seconds: u64,
    #[serde(default)]
    force: bool,
}

async fn add_temporary(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    JsonBody(Block { address, seconds, force }): JsonBody<Block>,
) -> Answer {
    ask(&site, &caller, Request::TemporaryAdd { address, seconds, force }).await
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

async fn relay(State(site): State<Arc<Site>>, Extension(caller): Extension<Caller>) -> Answer {
    ask(&site, &caller, Request::RelayList).await
}

/// Who may send out again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resumed {
    #[serde(default)]
    address: Option<IpAddr>,
    #[serde(default)]
    customer: Option<String>,
}

async fn resume(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    JsonBody(Resumed { address, customer }): JsonBody<Resumed>,
) -> Answer {
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
    use crate::config::web::{Rights, Web};
    use crate::control::server::{Desk, Incoming};
    use crate::record::{Record, Status};
    use crate::store::{Options, SqliteStore};

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
                    "backend",
                    "accepted",
                ),
            };
            let records: Vec<_> = (end - count..end).rev().map(record).collect();
            let next = end - count;
            Page { records, next: (next > 1).then_some(next), partial: count < limit }
        }
    }

    /// The lines of an export below its heading, and why it ended before its time.
    async fn exported(found: Found) -> (usize, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::start(Options::new(folder.path().to_owned())));
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
        let site = State(Arc::new(Site { desk, store, web }));
        let (who, address) = ("this host".to_owned(), IpAddr::from([127, 0, 0, 1]));
        let caller = Caller { who, address, rights: Rights::Read, has_token: false };
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
