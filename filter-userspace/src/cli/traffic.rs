//! `traffic`: searches of the record, as tables, JSON or CSV; and `audit`.

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
use crate::record::{Changes, Cursor, Kind, PAGE_LIMIT, Page, Record, Status, Stored, when};

/// How often `--follow` asks.
const EVERY: Duration = Duration::from_secs(1);

/// Prints what is found, a page after the other.
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
        // A heading at least, for who reads CSV.
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
    let left = |name| (name, Align::Left);
    let mut table = Table::new([
        left("TIME (UTC)"),
        left("SENDER"),
        left("RECIPIENT"),
        left("REASON"),
        left("SENDER IP"),
        left("COUNTRY"),
        ("SYNS", Align::Right),
        left("REFERENCE"),
    ]);
    for Stored { record, .. } in records {
        let is_dropped = record.status == Status::Dropped;
        table.row([
            when::show(record.time).replace(['T', 'Z'], " ").trim_end().to_owned(),
            sender(record),
            text(&record.recipient),
            reason(record),
            record.ip.to_string(),
            text(&record.country),
            if is_dropped || record.count > 1 { number(record.count) } else { String::new() },
            text(&record.reference),
        ]);
    }
    table
}

fn reason(record: &Record) -> String {
    match record.status {
        Status::Delivered => "delivered".to_owned(),
        _ => format!("{} ({})", record.reason, record.status_text()),
    }
}

fn sender(record: &Record) -> String {
    match record.sender.as_deref() {
        Some("") => "<>".to_owned(),
        sender => sender.unwrap_or("-").to_owned(),
    }
}

fn text(value: &Option<String>) -> String {
    value.as_deref().unwrap_or("-").to_owned()
}

/// Prints every fact of a reference or session.
pub(super) fn show(socket: &Path, reference: &str, output: &mut Output) -> Result<Exit, CliError> {
    let parts = [("reference".to_owned(), reference.to_owned())];
    let page = ask(socket, &parts, PAGE_LIMIT, ("before", None))?;
    say_partial(&page.skipped, &mut BTreeSet::new());
    if page.records.is_empty() {
        let message = format!(
            "nothing is recorded under {}; where a client had very many refusals, those beyond \
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
    let is_dropped = record.status == Status::Dropped;
    let lines = [
        ("sender", record.sender.as_ref().map(|_| sender(record))),
        ("recipient", record.recipient.clone()),
        ("direction", Some(record.direction.clone())),
        ("stage", Some(record.stage.clone())),
        ("reason", Some(record.reason.clone())),
        ("rule", record.rule.clone()),
        ("reply", record.reply.clone()),
        ("client", Some(record.ip.to_string())),
        ("country", record.country.clone()),
        ("SYNs", is_dropped.then(|| format!("about {}", number(record.count)))),
        ("attempts", record.folded().map(number)),
        ("HELO", record.helo.clone()),
        ("TLS", record.tls.clone()),
        ("SPF", record.spf.clone()),
        ("reputation", record.reputation.clone()),
        ("customer", record.customer.clone()),
        ("backend", record.backend.clone()),
        ("size", (record.size > 0).then(|| format!("{} bytes", number(record.size)))),
        ("duration", (!is_dropped).then(|| format!("{} ms", number(record.duration_ms)))),
        ("from", record.from.clone()),
        ("subject", record.subject.clone()),
        ("message-id", record.message_id.clone()),
        ("session", record.session.clone()),
        ("reference", record.reference.clone()),
    ];
    for (name, value) in lines {
        if let Some(value) = value {
            let value = clean(&value).replace('\n', "\n               ");
            output.line(&format!("  {name:<12} {value}"))?;
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
    let left = |name| (name, Align::Left);
    let mut table = Table::new([left("TIME (UTC)"), left("WHO"), left("WHAT"), left("OUTCOME")]);
    for change in changes {
        let time = when::show(change.time).replace(['T', 'Z'], " ").trim_end().to_owned();
        table.row([time, change.who, change.what, change.outcome]);
    }
    output.text(&table.render(""))?;
    Ok(Exit::Done)
}
