//! Lists: what is in force, entries that were added at runtime, and who changed what.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use maud::{Markup, html};

use super::layout::{self, Place, ago, time};
use super::traffic::encoded;
use super::{PageError, Shown};
use crate::control::protocol::{
    ListStatus, Request, RuntimeEntry, RuntimeList, Status, TemporaryEntry,
};
use crate::io::clock;
use crate::record::Change;
use crate::web::Site;
use crate::web::access::Caller;
use crate::web::chart::grouped;

pub(super) async fn page(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
) -> Shown {
    let wrong = PageError::at(Place::Lists);
    let status: Status = site.ask(Request::Status, caller.peer()).await.map_err(&wrong)?;
    let mut entries: Vec<RuntimeEntry> = Vec::new();
    for list in [RuntimeList::Approved, RuntimeList::Blocked] {
        let found: Vec<RuntimeEntry> =
            site.ask(Request::RuntimeList { list }, caller.peer()).await.map_err(&wrong)?;
        entries.extend(found);
    }
    let blocks: Vec<TemporaryEntry> =
        site.ask(Request::TemporaryList, caller.peer()).await.map_err(&wrong)?;
    let body = html! {
        h1 { "Lists" }
        @for alarm in &status.alarms { p.alarm role="alert" { (alarm) } }
        form.line method="get" action="/check" role="search" {
            label { span { "Which lists name an address?" }
                input name="ip" required placeholder="192.0.2.7" autocomplete="off" spellcheck="false" maxlength="60"; }
            button type="submit" { "Search" }
        }
        (files(&status))
        (runtime(&entries))
        (temporary(&blocks))
    };
    Ok(layout::page(Place::Lists, "Lists", &body))
}

fn files(status: &Status) -> Markup {
    let now = clock::unix_seconds();
    let age = |list: &ListStatus| list.modified.map(|modified| ago(now.saturating_sub(modified)));
    html! {
        section aria-labelledby="files" {
            h2 #files { "Files in force" }
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
                "What a class does: "
                @for class in &status.generation.enforcement { (class.class) " " b { (class.action) } ". " }
            }
        }
    }
}

fn runtime(entries: &[RuntimeEntry]) -> Markup {
    let now = clock::unix_seconds();
    html! {
        section aria-labelledby="runtime" {
            h2 #runtime { "Entries added at runtime" }
            @if entries.is_empty() { p.quiet { "There are none." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label="Runtime entries" {
                    table.records {
                        thead { tr {
                            th scope="col" { "Network" } th scope="col" { "List" } th scope="col" { "Note" }
                            th scope="col" { "Added" } th scope="col" { "Lapses in" } th scope="col" { "Change" }
                        } }
                        tbody {
                            @for entry in entries {
                                @let (add, remove) = match entry.list {
                                    RuntimeList::Approved => ("approve", "unapprove"),
                                    RuntimeList::Blocked => ("block", "unblock"),
                                };
                                @let link = |what: &str| {
                                    format!("/act?what={what}&net={}&back=%2Flists", encoded(&entry.prefix.to_string()))
                                };
                                @let note = encoded(entry.note.as_deref().unwrap_or_default());
                                tr {
                                    td { (entry.prefix) }
                                    td { @match entry.list { RuntimeList::Approved => "approved", RuntimeList::Blocked => "blocked" } }
                                    td { (layout::or_dash(entry.note.as_deref())) }
                                    td { (time(entry.added_at * 1_000)) }
                                    td { @match entry.expires_at { Some(end) => (ago(end.saturating_sub(now))), None => "never" } }
                                    td { a href=(format!("{}&note={note}", link(add))) { "Edit" } " " a href=(link(remove)) { "Remove" } }
                                }
                            }
                        }
                    }
                }
            }
            form.line method="get" action="/act" {
                input type="hidden" name="back" value="/lists";
                label { span { "Network" } input name="net" required placeholder="192.0.2.0/24" autocomplete="off" maxlength="60"; }
                button type="submit" name="what" value="approve" { "Approve" }
                button type="submit" name="what" value="block" { "Block" }
            }
        }
    }
}

fn temporary(blocks: &[TemporaryEntry]) -> Markup {
    html! {
        section aria-labelledby="temporary" {
            h2 #temporary { "Temporary blocks" }
            @if blocks.is_empty() { p.quiet { "There are none." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label="Temporary blocks" {
                    table.records {
                        thead { tr {
                            th scope="col" { "Network" } th scope="col" { "Reason" } th scope="col" { "Left" }
                            th scope="col" { "Change" }
                        } }
                        tbody {
                            @for block in blocks.iter().take(SHOWN) {
                                @let ip = block.prefix.addr().to_string();
                                tr {
                                    td { (block.prefix) } td { (block.reason) } td { (ago(block.remaining_s)) }
                                    td { a href=(format!("/act?what=lift&net={}&back=%2Flists", encoded(&ip))) { "Lift" } }
                                }
                            }
                        }
                    }
                }
                @if blocks.len() > SHOWN {
                    p.quiet { "and " (grouped((blocks.len() - SHOWN) as u64)) " more: `mxdp temp list`" }
                }
            }
        }
    }
}

/// The temporary blocks that are shown.
const SHOWN: usize = 200;

pub(super) async fn changes(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
) -> Shown {
    let asked = site.ask(Request::Changes { limit: 200 }, caller.peer()).await;
    let changes: Vec<Change> = asked.map_err(PageError::at(Place::Changes))?;
    let body = html! {
        h1 { "Changes" }
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
