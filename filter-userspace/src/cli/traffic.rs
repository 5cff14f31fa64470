//! `traffic`: searches of the mail log, as tables, JSON or CSV; and `audit`.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::args::Search;
use super::error::{CliError, Exit};
use super::output::{Colour, Output, clean};
use super::table::{Align, Table, number};
use crate::control::client::call;
use crate::control::protocol::Request;
use crate::record::export::Csv;
use crate::record::{
    COLUMNS, Changes, Column, ColumnType, Cursor, Kind, PAGE_LIMIT, Page, Record, Status, Stored,
    details, when,
};

/// How often `--follow` searches.
const EVERY: Duration = Duration::from_secs(1);

/// Prints the records that are found, page by page.
pub(super) fn search(
    socket: &Path,
    kind: Kind,
    search: &Search,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let parts = search.parts(kind.name());
    let wanted = if search.all { usize::MAX } else { search.limit };
    let mut printer = Printer { csv: search.csv, begun: false };
    let mut newest = None;
    let mut printed = 0;
    let mut before = None;
    let mut said = BTreeSet::new();
    while printed < wanted {
        let limit = (wanted - printed).min(PAGE_LIMIT);
        let page = ask(socket, &parts, limit, ("before", before))?;
        say_partial(&page.skipped, &mut said);
        let stopped = page.partial && page.records.len() < limit;
        newest = newest.max(page.records.first().map(|stored| stored.id));
        printed += page.records.len();
        let mut records = page.records;
        if search.follow {
            records.reverse();
        }
        printer.print(&records, output)?;
        before = page.next;
        if before.is_none() || (stopped && !search.all) {
            break;
        }
    }
    if !search.follow {
        return end(&mut printer, printed, before, search, output);
    }
    follow(socket, &parts, newest.unwrap_or(0), &mut printer, output)
}

/// Says once of each file that its records are missing.
fn say_partial(skipped: &[String], said: &mut BTreeSet<String>) {
    for missing in skipped {
        if said.insert(missing.clone()) {
            // Not among the records, which programs read.
            eprintln!("warning: the answer is partial: {}", clean(missing));
        }
    }
}

fn end(
    printer: &mut Printer,
    printed: usize,
    next: Option<Cursor>,
    search: &Search,
    output: &mut Output,
) -> Result<Exit, CliError> {
    if printed == 0 {
        // Programs that read CSV expect at least the heading.
        printer.print(&[], output)?;
    }
    if output.json || search.csv {
        return Ok(Exit::Done);
    }
    match next {
        Some(_) if printed < search.limit => {
            output.line(
                "search stopped at its limit; narrow it with --since, or continue with --all",
            )?;
        }
        Some(_) => output.line("there is more: --limit or --all")?,
        None if printed == 0 => output.line("nothing was found")?,
        None => {}
    }
    Ok(Exit::Done)
}

fn follow(
    socket: &Path,
    parts: &[(String, String)],
    mut newest: Cursor,
    printer: &mut Printer,
    output: &mut Output,
) -> Result<Exit, CliError> {
    loop {
        output.flush()?;
        thread::sleep(EVERY);
        let mut records = Vec::new();
        let mut before = None;
        loop {
            let mut parts = parts.to_vec();
            parts.push(("after".to_owned(), newest.to_string()));
            let page = ask(socket, &parts, PAGE_LIMIT, ("before", before))?;
            records.extend(page.records);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        newest = records.first().map_or(newest, |stored: &Stored| stored.id);
        records.reverse();
        if !records.is_empty() {
            printer.print(&records, output)?;
        }
    }
}

fn ask(
    socket: &Path,
    parts: &[(String, String)],
    limit: usize,
    (name, cursor): (&str, Option<Cursor>),
) -> Result<Page, CliError> {
    let mut query = parts.to_vec();
    query.push(("limit".to_owned(), limit.to_string()));
    query.extend(cursor.map(|cursor| (name.to_owned(), cursor.to_string())));
    Ok(call(socket, &Request::Traffic { query })?)
}

/// Prints pages that belong together.
struct Printer {
    csv: bool,
    begun: bool,
}

impl Printer {
    fn print(&mut self, records: &[Stored], output: &mut Output) -> Result<(), CliError> {
        let is_first = !std::mem::replace(&mut self.begun, true);
        if output.json {
            for stored in records {
                output.object(stored)?;
            }
        } else if self.csv {
            let mut text = Vec::new();
            let mut csv =
                if is_first { Csv::with_heading(&mut text)? } else { Csv::rows(&mut text) };
            for stored in records {
                csv.write(stored)?;
            }
            csv.finish()?;
            output.bytes(&text)?;
        } else if !records.is_empty() {
            let table = table(records).render("");
            // Pages that follow need no heading.
            let rows = table.split_once('\n').map_or("", |(_, rows)| rows);
            output.text(if is_first { &table } else { rows })?;
        }
        Ok(())
    }
}

fn table(records: &[Stored]) -> Table {
    let columns = || COLUMNS.iter().filter(|column| column.is_in_command_line());
    let mut table = Table::new(columns().map(heading).collect::<Vec<_>>());
    for Stored { record, .. } in records {
        table.row(columns().map(|column| cell(column, record)));
    }
    table
}

fn heading(column: &'static Column) -> (String, Align) {
    let align = if column.holds == ColumnType::Number && column.name != "time" {
        Align::Right
    } else {
        Align::Left
    };
    (column.label.to_uppercase(), align)
}

fn cell(column: &Column, record: &Record) -> String {
    let text = column.text(record);
    match column.name {
        "time" => short_time(record.time),
        "reason" if record.status == Status::Delivered => "delivered".to_owned(),
        "reason" => format!("{text} ({})", record.status_text()),
        "count" if record.status == Status::Dropped || record.count > 1 => number(record.count),
        "count" => String::new(),
        _ if text.is_empty() => "-".to_owned(),
        _ => text,
    }
}

/// `2026-11-23 04:14:07.123`.
fn short_time(milliseconds: u64) -> String {
    when::show(milliseconds).replace(['T', 'Z'], " ").trim_end().to_owned()
}

/// Prints every fact of a reference or session.
pub(super) fn show(socket: &Path, reference: &str, output: &mut Output) -> Result<Exit, CliError> {
    let parts = [("reference".to_owned(), reference.to_owned())];
    let page = ask(socket, &parts, PAGE_LIMIT, ("before", None))?;
    say_partial(&page.skipped, &mut BTreeSet::new());
    if page.records.is_empty() {
        let message = format!(
            "the mail log has no entry for {}; where a client had very many refusals, those beyond \
             its share of the mail log are one entry with a count, without references",
            clean(reference)
        );
        return Err(CliError::new(Exit::Failed, "not_found", message));
    }
    for (index, stored) in page.records.iter().enumerate() {
        if output.json {
            output.object(stored)?;
            continue;
        }
        if index > 0 {
            output.line("")?;
        }
        facts(&stored.record, output)?;
    }
    Ok(Exit::Done)
}

fn facts(record: &Record, output: &mut Output) -> Result<(), CliError> {
    let heading = format!("{} {}", when::show(record.time), record.status_text());
    output.line(&output.style.paint(&heading, Colour::Bold))?;
    for (column, label, value) in details(record) {
        // The heading has them.
        if !matches!(column.name, "time" | "status") {
            let value = clean(&value).replace('\n', "\n               ");
            output.line(&format!("  {label:<12} {value}"))?;
        }
    }
    Ok(())
}

/// Prints what operators changed.
pub(super) fn audit(socket: &Path, limit: usize, output: &mut Output) -> Result<Exit, CliError> {
    let Changes { changes, skipped } = call(socket, &Request::Changes { limit })?;
    say_partial(&skipped, &mut BTreeSet::new());
    if output.json {
        for change in &changes {
            output.object(change)?;
        }
        return Ok(Exit::Done);
    }
    let names = ["TIME (UTC)", "WHO", "WHAT", "OUTCOME"];
    let mut table = Table::new(names.map(|name| (name, Align::Left)));
    for change in changes {
        table.row([short_time(change.time), change.who, change.what, change.outcome]);
    }
    output.text(&table.render(""))?;
    Ok(Exit::Done)
}
