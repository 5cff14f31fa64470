//! Lists: active files, managed entries and temporary blocks.

use maud::{Markup, html};

use super::failure::Shown;
use super::layout::Column::{self, Number, Text};
use super::layout::{self, ago, time};
use super::visit::Visit;
use crate::control::protocol::{
    ListStatus, Request, RuntimeEntry, RuntimeList, Status, TemporaryEntry, Window, Windowed,
};
use crate::io::clock;
use crate::text::grouped;
use crate::web::error::ApiError;
use crate::web::parts::{Parts, encoded};

/// The entries of a list that are shown at once.
const SHOWN: usize = 50;

/// The parameters of this page.
const SEARCH: &str = "q";
const AFTER: [&str; 3] = ["approved_after", "blocked_after", "temporary_after"];

pub(super) async fn page(visit: Visit) -> Shown {
    let parts = &visit.parts;
    visit.only(&[SEARCH, AFTER[0], AFTER[1], AFTER[2]])?;
    let window = |after| part_of(parts, after).map_err(|error| visit.error(error));
    let status: Status = visit.ask(Request::Status).await?;
    let mut entries: Vec<(RuntimeList, Windowed<RuntimeEntry>)> = Vec::new();
    for (list, after) in [(RuntimeList::Approved, AFTER[0]), (RuntimeList::Blocked, AFTER[1])] {
        let request = Request::RuntimePart { list, window: window(after)? };
        entries.push((list, visit.ask(request).await?));
    }
    let request = Request::TemporaryPart { window: window(AFTER[2])? };
    let blocks: Windowed<TemporaryEntry> = visit.ask(request).await?;
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
                input name=(SEARCH) value=[parts.get(SEARCH)] placeholder="address, network or a word of the note"
                    autocomplete="off" spellcheck="false" maxlength="500"; }
            button type="submit" { "Search" }
            @if parts.get(SEARCH).is_some() { a href="/lists" { "Clear" } }
        }
        @for (list, part) in &entries { (managed(*list, part, parts)) }
        (add())
        (temporary(&blocks, parts))
    };
    Ok(visit.frame.page("Lists", &body))
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
    let rows = html! {
        @for list in &status.generation.lists {
            tr {
                td { code { (list.source) } }
                td { (list.class) }
                td.number { (grouped(list.entries)) }
                td.number { @if list.skipped > 0 { b.bad { (grouped(list.skipped)) } } @else { "0" } }
                td { (layout::or_dash(age(list).as_deref())) }
            }
        }
    };
    html! {
        section aria-labelledby="files" {
            h2 #files { "Active files" }
            (layout::table("Files", &[
                Text("File"), Text("Class"), Number("Entries"), Number("Bad lines skipped"), Text("Age"),
            ], &rows))
            @for warning in &status.generation.warnings { p.warning { (warning) } }
            (enforcement(status))
        }
    }
}

/// What each class does.
fn enforcement(status: &Status) -> Markup {
    let rows = html! {
        @for class in &status.generation.enforcement { tr { td { (class.class) } td { (class.action) } } }
    };
    html! {
        h3 { "Enforcement by class" }
        (layout::table("Enforcement by class", &[Text("Class"), Text("Action")], &rows))
    }
}

/// A list of entries: its heading, its table if there are any, and links to its other parts.
fn listed<T>(
    (id, title): (&str, &str),
    columns: &[Column],
    rows: &Markup,
    part: &Windowed<T>,
    others: &Markup,
) -> Markup {
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (title) }
            @if part.entries.is_empty() { p.quiet { "None." } }
            @else { (layout::table(title, columns, rows)) }
            (others)
        }
    }
}

fn managed(list: RuntimeList, part: &Windowed<RuntimeEntry>, parts: &Parts) -> Markup {
    let now = clock::unix_seconds();
    let (heading, add, remove, after) = match list {
        RuntimeList::Approved => {
            (("approved", "Managed entries: Approved"), "approve", "unapprove", AFTER[0])
        }
        RuntimeList::Blocked => {
            (("blocked", "Managed entries: Blocked"), "block", "unblock", AFTER[1])
        }
    };
    let rows = html! {
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
    };
    let columns = ["Network", "Note", "Added", "Expires in", "Change"].map(Text);
    listed(heading, &columns, &rows, part, &others(part, parts, after))
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
    let rows = html! {
        @for block in &part.entries {
            @let ip = block.prefix.addr().to_string();
            tr {
                td { (block.prefix) } td { (block.reason) } td { (ago(block.remaining_s)) }
                td { a href=(format!("/act?what=lift&net={}&back=%2Flists", encoded(&ip))) { "Lift" } }
            }
        }
    };
    let columns = ["Network", "Reason", "Expires in", "Change"].map(Text);
    let others = others(part, parts, AFTER[2]);
    listed(("temporary", "Temporary blocks"), &columns, &rows, part, &others)
}
