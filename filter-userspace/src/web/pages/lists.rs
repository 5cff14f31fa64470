//! Lists: what is in force, entries that were added at runtime, and who changed what.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use maud::{Markup, html};

use super::failure::{PageError, Shown};
use super::layout::{self, Place, ago, time};
use crate::control::protocol::{
    ListStatus, Request, RuntimeEntry, RuntimeList, Status, TemporaryEntry, Window, Windowed,
};
use crate::io::clock;
use crate::record::Changes;
use crate::web::access::Caller;
use crate::web::chart::grouped;
use crate::web::error::ApiError;
use crate::web::parts::{NoQuery, Parts, encoded};
use crate::web::site::Site;

/// The entries of a part of a list that are shown at once.
const SHOWN: usize = 50;

/// The parts of a query by which this page is asked for.
const SEARCH: &str = "q";
const AFTER: [&str; 3] = ["approved_after", "blocked_after", "temporary_after"];

pub(super) async fn page(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Shown {
    let wrong = PageError::at(Place::Lists);
    let parts = Parts::of(query.as_deref());
    let parts = parts.map_err(|error| PageError::of(Place::Lists, error))?;
    let window = |after| part_of(&parts, after);
    let bad = |error| PageError::of(Place::Lists, error);
    parts.only(&[SEARCH, AFTER[0], AFTER[1], AFTER[2]]).map_err(bad)?;
    let status: Status = site.ask(Request::Status, caller.peer()).await.map_err(&wrong)?;
    let mut entries: Vec<(RuntimeList, Windowed<RuntimeEntry>)> = Vec::new();
    for (list, after) in [(RuntimeList::Approved, AFTER[0]), (RuntimeList::Blocked, AFTER[1])] {
        let request = Request::RuntimePart { list, window: window(after).map_err(bad)? };
        entries.push((list, site.ask(request, caller.peer()).await.map_err(&wrong)?));
    }
    let request = Request::TemporaryPart { window: window(AFTER[2]).map_err(bad)? };
    let blocks: Windowed<TemporaryEntry> =
        site.ask(request, caller.peer()).await.map_err(&wrong)?;
    let body = html! {
        h1 { "Lists" }
        @for alarm in &status.alarms { p.alarm role="alert" { (alarm) } }
        form.line method="get" action="/check" role="search" {
            label { span { "Find an address in the lists" }
                input name="ip" required placeholder="192.0.2.7" autocomplete="off" spellcheck="false" maxlength="60"; }
            button type="submit" { "Search" }
        }
        (files(&status))
        form.line method="get" action="/lists" role="search" {
            label { span { "Search managed entries and temporary blocks" }
                input name=(SEARCH) value=[parts.get(SEARCH)] placeholder="an address, a network or a word of the note"
                    autocomplete="off" spellcheck="false" maxlength="500"; }
            button type="submit" { "Search" }
            @if parts.get(SEARCH).is_some() { a href="/lists" { "Clear" } }
        }
        @for (list, part) in &entries { (runtime(*list, part, &parts)) }
        (add())
        (temporary(&blocks, &parts))
    };
    Ok(layout::page(Place::Lists, "Lists", &body))
}

/// The part of a list that is requested.
fn part_of(parts: &Parts, after: &str) -> Result<Window, ApiError> {
    let search = parts.get(SEARCH).map(str::to_owned);
    let after = parts.get(after).map(|text| {
        let wrong = || ApiError::bad_request(format!("{after}: `{text}` is not a network"));
        text.parse().map_err(|_| wrong())
    });
    Ok(Window { search, after: after.transpose()?, limit: SHOWN })
}

/// Links to the other parts of a list.
fn others<T>(part: &Windowed<T>, parts: &Parts, after: &str) -> Markup {
    let link = |value: Option<String>| {
        let kept = parts.iter().filter(|(name, value)| {
            !value.is_empty() && name != after && (name == SEARCH || AFTER.contains(&name.as_str()))
        });
        let kept = kept.map(|(name, value)| (name.as_str(), value.clone()));
        let all: Vec<_> = kept.chain(value.map(|value| (after, value))).collect();
        let query: Vec<_> =
            all.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        if query.is_empty() { "/lists".to_owned() } else { format!("/lists?{}", query.join("&")) }
    };
    html! {
        nav.pages aria-label="Parts of the list" {
            span.quiet {
                (grouped(part.found))
                @if part.found != part.total { " of " (grouped(part.total)) }
            }
            @if parts.get(after).is_some() { " " a href=(link(None)) { "First" } }
            @if let Some(next) = part.next {
                " " a rel="next" href=(link(Some(next.to_string()))) { "Next" }
            }
        }
    }
}

fn files(status: &Status) -> Markup {
    let now = clock::unix_seconds();
    let age = |list: &ListStatus| list.modified.map(|modified| ago(now.saturating_sub(modified)));
    html! {
        section aria-labelledby="files" {
            h2 #files { "Active files" }
            div.scroll tabindex="0" role="region" aria-label="Files" {
                table.records {
                    thead { tr {
                        th scope="col" { "File" } th scope="col" { "Class" } th.number scope="col" { "Entries" }
                        th.number scope="col" { "Bad lines skipped" } th scope="col" { "Age" }
                    } }
                    tbody {
                        @for list in &status.generation.lists {
                            tr {
                                td { code { (list.source) } }
                                td { (list.class) }
                                td.number { (grouped(list.entries)) }
                                td.number { @if list.skipped > 0 { b.bad { (grouped(list.skipped)) } } @else { "0" } }
                                td { (layout::or_dash(age(list).as_deref())) }
                            }
                        }
                    }
                }
            }
            @for warning in &status.generation.warnings { p.warning { (warning) } }
            p.quiet {
                "Enforcement by class: "
                @for class in &status.generation.enforcement { (class.class) " " b { (class.action) } ". " }
            }
        }
    }
}

fn runtime(list: RuntimeList, part: &Windowed<RuntimeEntry>, parts: &Parts) -> Markup {
    let now = clock::unix_seconds();
    let (title, id, add, remove, after) = match list {
        RuntimeList::Approved => ("Approved", "approved", "approve", "unapprove", AFTER[0]),
        RuntimeList::Blocked => ("Blocked", "blocked", "block", "unblock", AFTER[1]),
    };
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { "Managed entries: " (title) }
            @if part.entries.is_empty() { p.quiet { "None." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label=(title) {
                    table.records {
                        thead { tr {
                            th scope="col" { "Network" } th scope="col" { "Note" }
                            th scope="col" { "Added" } th scope="col" { "Expires in" } th scope="col" { "Change" }
                        } }
                        tbody {
                            @for entry in &part.entries {
                                @let link = |what: &str| {
                                    format!("/act?what={what}&net={}&back=%2Flists", encoded(&entry.prefix.to_string()))
                                };
                                @let note = encoded(entry.note.as_deref().unwrap_or_default());
                                tr {
                                    td { (entry.prefix) }
                                    td { (layout::or_dash(entry.note.as_deref())) }
                                    td { (time(entry.added_at.saturating_mul(1_000))) }
                                    td { @match entry.expires_at { Some(end) => (ago(end.saturating_sub(now))), None => "never" } }
                                    td { a href=(format!("{}&note={note}", link(add))) { "Edit" } " " a href=(link(remove)) { "Remove" } }
                                }
                            }
                        }
                    }
                }
            }
            (others(part, parts, after))
        }
    }
}

fn add() -> Markup {
    html! {
        form.line method="get" action="/act" {
            input type="hidden" name="back" value="/lists";
            label { span { "Network" } input name="net" required placeholder="192.0.2.0/24" autocomplete="off" maxlength="60"; }
            button type="submit" name="what" value="approve" { "Approve" }
            button type="submit" name="what" value="block" { "Block" }
        }
    }
}

fn temporary(part: &Windowed<TemporaryEntry>, parts: &Parts) -> Markup {
    html! {
        section aria-labelledby="temporary" {
            h2 #temporary { "Temporary blocks" }
            @if part.entries.is_empty() { p.quiet { "None." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label="Temporary blocks" {
                    table.records {
                        thead { tr {
                            th scope="col" { "Network" } th scope="col" { "Reason" } th scope="col" { "Left" }
                            th scope="col" { "Change" }
                        } }
                        tbody {
                            @for block in &part.entries {
                                @let ip = block.prefix.addr().to_string();
                                tr {
                                    td { (block.prefix) } td { (block.reason) } td { (ago(block.remaining_s)) }
                                    td { a href=(format!("/act?what=lift&net={}&back=%2Flists", encoded(&ip))) { "Lift" } }
                                }
                            }
                        }
                    }
                }
            }
            (others(part, parts, AFTER[2]))
        }
    }
}

pub(super) async fn changes(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Shown {
    NoQuery::of(query.as_deref()).map_err(|error| PageError::of(Place::Changes, error))?;
    let asked = site.ask(Request::Changes { limit: 200 }, caller.peer()).await;
    let Changes { changes, skipped } = asked.map_err(PageError::at(Place::Changes))?;
    let body = html! {
        h1 { "Changes" }
        (layout::partial(&skipped))
        @if changes.is_empty() { p.quiet { "Nothing was changed." } }
        @else {
            div.scroll tabindex="0" role="region" aria-label="Changes" {
                table.records {
                    thead { tr {
                        th scope="col" { "Time (UTC)" } th scope="col" { "Who" } th scope="col" { "What" } th scope="col" { "Outcome" }
                    } }
                    tbody {
                        @for change in &changes {
                            tr {
                                td { (time(change.time)) } td { (change.who) } td { (change.what) } td { (change.outcome) }
                            }
                        }
                    }
                }
            }
        }
    };
    Ok(layout::page(Place::Changes, "Changes", &body))
}
