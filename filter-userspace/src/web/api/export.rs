//! The export of the mail log as CSV.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream;

use super::answer::say_partial;
use super::asked::Asked;
use crate::config::web::Rights;
use crate::control::protocol::Request;
use crate::record::export::Csv;
use crate::record::{PAGE_LIMIT, Page, Stored};
use crate::web::access::Caller;
use crate::web::error::ApiError;
use crate::web::site::Site;

/// The most records of an export; a larger one is requested in parts.
const EXPORT: usize = 100_000;

/// Everything that a search finds, page after page as the client reads.
pub(in crate::web) async fn export(asked: Asked) -> Result<Response, ApiError> {
    let Asked { parts, site, caller, .. } = asked;
    exported(site, caller, parts.into_inner()).await
}

async fn exported(
    site: Arc<Site>,
    caller: Caller,
    query: Vec<(String, String)>,
) -> Result<Response, ApiError> {
    // An error of the search is reported before the response begins.
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
                return Err(std::io::Error::other("the client of this export may no longer read"));
            }
            // After an error the connection ends before its time: the client knows.
            let page = export_page(&site, &caller, query, so_far).await;
            let (text, so_far, skipped) =
                page.map_err(|error| std::io::Error::other(error.0.message))?;
            // What was missing at the beginning has been reported; the next export reports this.
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
    // The name of the file shows later that it is not complete.
    let file = if skipped.is_empty() {
        "attachment; filename=\"mxdp-traffic.csv\""
    } else {
        "attachment; filename=\"mxdp-traffic-partial.csv\""
    };
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(file));
    say_partial(headers, &skipped);
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
    // At the limit, one more entry is still searched for: without it, the export is complete.
    let limit = (EXPORT - records).clamp(1, PAGE_LIMIT);
    query.push(("limit".to_owned(), limit.to_string()));
    query.extend(before.map(|before| ("before".to_owned(), before.to_string())));
    let page: Page = site.ask(Request::Traffic { query }, caller.peer()).await?;
    // A page of a search that stopped at its limit may have few entries or none.
    let records = records + page.records.len();
    if records > EXPORT {
        let more = format!("more than {EXPORT} records: narrow the search, for example by time");
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

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures_util::StreamExt as _;

    use super::*;
    use crate::config::web::Web;
    use crate::record::{Reason, Record, Stage, Status};
    use crate::web::site::answering;

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
    async fn lines_of(found: Found) -> (usize, Option<String>) {
        let web = Web { certificate: None, loopback: Rights::Read, tokens: Vec::new() };
        let site = answering(&web, move |incoming| {
            if let Request::Traffic { query } = &incoming.request {
                let page = found.page(query);
                incoming.answer(Ok(page));
            }
        });
        let (who, address) = ("this host".to_owned(), IpAddr::from([127, 0, 0, 1]));
        let (rights, token) = (Rights::Read, None);
        let caller = Caller { who, address, rights, token, is_from_elsewhere: false };
        let response = exported(Arc::new(site), caller, Vec::new()).await.unwrap();
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
            assert_eq!(lines_of(found).await, (lines, None), "{records} by {of_a_page}");
        }
        for (records, of_a_page) in [(most + 1, page), (most + 1, page - 1), (2 * most, page)] {
            let (lines, error) = lines_of(Found { records, of_a_page, empty_pages: 0 }).await;
            assert_eq!(lines, EXPORT, "{records} by {of_a_page}");
            assert!(error.is_some_and(|error| error.starts_with("more than 100000 records")));
        }
    }
}
