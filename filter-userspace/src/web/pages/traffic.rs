//! Blocked traffic, accepted traffic, and the details of one log entry.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use super::failure::Shown;
use super::layout::{self, or_dash, time};
use super::visit::Visit;
use super::{check, offers};
use crate::control::protocol::{Failure, FailureKind, Request};
use crate::record::{COLUMNS, Column, Cursor, Kind, Page, Record, Status, Stored, details};
use crate::text::grouped;
use crate::web::error::status;
use crate::web::parts::{Parts, encoded};

/// The filters of the form: the parameter, its label, and an example.
const FILTERS: [(&str, &str, &str); 12] = [
    ("since", "From (UTC)", "24h or 2026-11-23 04:14"),
    ("until", "Until (UTC)", "now"),
    ("sender", "Sender", "*@example.com"),
    ("recipient", "Recipient", "bob@example.org"),
    ("ip", "Sender IP", "192.0.2.0/24"),
    ("country", "Country", "DE,AT or none"),
    ("reason", "Reason", "blocked_ip,spf_refused"),
    ("stage", "Stage", "syn,reputation"),
    ("status", "Status", "temporary,permanent"),
    ("direction", "Direction", "inbound or outgoing"),
    ("reference", "Reference or session", "1KZ2ABCDEF0GH-1"),
    ("text", "Subject or Message-ID", "invoice"),
];

pub(super) async fn blocked(visit: Visit) -> Response {
    search(&visit, Kind::Blocked, "Blocked traffic", "/blocked").await
}

pub(super) async fn accepted(visit: Visit) -> Response {
    search(&visit, Kind::Accepted, "Accepted traffic", "/accepted").await
}

async fn search(visit: &Visit, kind: Kind, title: &str, path: &str) -> Response {
    let parts = &visit.parts;
    let mut query = parts.clone().into_inner();
    query.retain(|(name, _)| name != "type");
    query.push(("type".to_owned(), kind.name().to_owned()));
    let found: Result<Page, Failure> = visit.try_ask(Request::Traffic { query }).await;
    let body = html! {
        h1 { (title) }
        (form(path, parts))
        @match &found {
            Ok(page) => {
                (layout::partial(&page.skipped))
                (results(page, path, parts))
            }
            Err(failure) => {
                @for line in failure.message.lines() { p.alarm role="alert" { (line) } }
            }
        }
    };
    let status = found.map_or_else(|failure| status(failure.kind), |_| StatusCode::OK);
    (status, visit.frame.page(title, &body)).into_response()
}

fn form(path: &str, parts: &Parts) -> Markup {
    html! {
        form.filters method="get" action=(path) role="search" {
            @for (name, label, example) in FILTERS {
                label { span { (label) }
                    input name=(name) value=[parts.get(name)] placeholder=(example)
                        autocomplete="off" spellcheck="false" maxlength="500";
                }
            }
            p.buttons {
                button type="submit" { "Search" }
                a href=(path) { "Clear filters" }
                a href=(link(&format!("/api/v1/traffic.csv?type={}", &path[1..]), parts, None)) download {
                    "Export as CSV"
                }
            }
        }
    }
}

/// A link to the same search on another path, or to its next page. An export has all pages.
fn link(path: &str, parts: &Parts, before: Option<u64>) -> String {
    let mut link = path.to_owned();
    let named = parts.iter().filter(|(name, value)| {
        !value.is_empty()
            && !["before", "after", "type"].contains(&name.as_str())
            && (name != "limit" || !path.starts_with("/api/"))
    });
    let before = before.map(|before| ("before".to_owned(), before.to_string()));
    for (name, value) in named.cloned().chain(before) {
        link.push(if link.contains('?') { '&' } else { '?' });
        link.push_str(&encoded(&name));
        link.push('=');
        link.push_str(&encoded(&value));
    }
    link
}

fn results(page: &Page, path: &str, parts: &Parts) -> Markup {
    html! {
        @if page.records.is_empty() && page.next.is_none() {
            p.quiet role="status" { "No log entries found." }
        }
        @if !page.records.is_empty() {
            (entries(page, path))
        }
        nav.pages aria-label="Result pages" {
            @if parts.get("before").is_some() { a href=(link(path, parts, None)) { "Newest" } }
            @if let Some(next) = page.next {
                a rel="next" href=(link(path, parts, Some(next))) {
                    @if page.partial && page.skipped.is_empty() { "Search further back" } @else { "Older" }
                }
            }
        }
    }
}

fn entries(page: &Page, path: &str) -> Markup {
    let headings: Vec<_> =
        columns().map(|column| layout::Column::Text(heading(column, path))).collect();
    let rows = html! {
        @for Stored { id, record } in &page.records {
            tr { @for column in columns() { td { (cell(column, *id, record)) } } }
        }
    };
    layout::table("Log entries", &headings, &rows)
}

/// The columns of the table.
fn columns() -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(|column| column.is_in_console())
}

fn heading(column: &'static Column, path: &str) -> &'static str {
    match (column.name, path == "/blocked") {
        ("reason", true) => "Blocking reason",
        ("reason", false) => "Result",
        ("subject", true) => "Subject; Attempts",
        _ => column.label,
    }
}

fn cell(column: &Column, id: Cursor, record: &Record) -> Markup {
    let text = column.text(record);
    match column.name {
        "time" => html! { a href=(format!("/record/{id}")) { (time(record.time)) } },
        "reason" => html! {
            @if record.status != Status::Delivered { (text) ", " }
            span.status { (record.status_text()) }
        },
        "subject" if record.status == Status::Dropped => html! { (grouped(record.count)) " SYNs" },
        "subject" if record.folded().is_some() => html! { (grouped(record.count)) " attempts" },
        _ => or_dash(Some(text.as_str()).filter(|text| !text.is_empty())),
    }
}

pub(super) async fn record(visit: Visit, id: Result<Path<u64>, PathRejection>) -> Shown {
    visit.only(&[])?;
    let missing = || {
        let message = "Record not found; it may have expired.".to_owned();
        visit.failure(Failure { kind: FailureKind::NotFound, message })
    };
    let Path(id) = id.map_err(|_| missing())?;
    let (Some(after), Some(before)) = (id.checked_sub(1), id.checked_add(1)) else {
        return Err(missing());
    };
    let part = |name: &str, value: u64| (name.to_owned(), value.to_string());
    let query = vec![part("after", after), part("before", before)];
    let found: Page = visit.ask(Request::Traffic { query }).await?;
    let Stored { record, .. } = found.records.into_iter().next().ok_or_else(missing)?;
    let entry = match record.kind {
        Kind::Blocked => "/blocked",
        Kind::Accepted => "/accepted",
    };
    let now = check::now(&visit, &record).await;
    let body = html! {
        h1 { (record.status_text()) ": " (record.reason) }
        (facts(&record))
        (offers::offers(&visit, record.ip, &format!("/record/{id}")).await)
        section aria-labelledby="now" {
            h2 #now { "What would happen now" }
            (now)
        }
    };
    Ok(visit.frame.at(entry).page(record.status_text(), &body))
}

fn facts(record: &Record) -> Markup {
    html! {
        dl.facts {
            @for (column, label, value) in details(record) {
                dt { (label) }
                dd {
                    @match column.name {
                        "time" => (time(record.time)),
                        "rule" => code { (value) },
                        "reply" => pre { (value) },
                        "session" | "reference" => {
                            a href=(format!("/{}?reference={}", record.kind.name(), encoded(&value))) {
                                (value)
                            }
                        },
                        _ => (value),
                    }
                }
            }
        }
    }
}
