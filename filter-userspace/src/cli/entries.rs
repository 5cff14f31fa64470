//! `approve`, `block` and `temp`: what operators add, remove and list.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use serde::Serialize;

use super::args::Addition;
use super::error::{CliError, Exit};
use super::output::Output;
use super::table::{Align, Table};
use super::time::{Lasts, human, now, utc};
use crate::control::client::call;
use crate::control::protocol::{LiveAnswer, Request, RuntimeEntry, RuntimeList, TemporaryEntry};
use crate::smtp::refusal::Reason;

/// Adds or replaces a runtime entry.
pub(super) fn add(
    socket: &Path,
    list: RuntimeList,
    addition: &Addition,
    force: bool,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let request = Request::RuntimeAdd {
        list,
        prefix: addition.prefix,
        note: addition.note.clone(),
        expires_in_s: match addition.lasts {
            Some(Lasts::Seconds(seconds)) => Some(seconds),
            Some(Lasts::Forever) | None => None,
        },
        permanent: addition.lasts == Some(Lasts::Forever),
        force,
    };
    let entry: RuntimeEntry = call(socket, &request)?;
    let warning = match list {
        RuntimeList::Blocked => approved_first(socket, entry.prefix.network(), entry.prefix),
        // The approval stands, so an answer that cannot be had is no error.
        RuntimeList::Approved => {
            call::<Option<String>>(socket, &Request::Shadowed { prefix: entry.prefix })
                .ok()
                .flatten()
        }
    };
    if output.json {
        output.object(&WithWarning { entry: &entry, warning })?;
    } else {
        output.line(&added(&entry))?;
        if let Some(warning) = warning {
            output.warning(&warning)?;
        }
    }
    Ok(Exit::Done)
}

/// What was done, and what to know of it.
#[derive(Serialize)]
struct WithWarning<'a, T> {
    #[serde(flatten)]
    entry: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

/// What lets an address of what is blocked in all the same. The block stands, so an
/// answer that cannot be had is no error.
fn approved_first(socket: &Path, address: IpAddr, blocked: IpNet) -> Option<String> {
    let request = Request::Lookup { addresses: vec![address] };
    let answers: Vec<LiveAnswer> = call(socket, &request).ok()?;
    answers.into_iter().next()?.answer.approved_first(blocked)
}

fn added(entry: &RuntimeEntry) -> String {
    let (prefix, list) = (entry.prefix, entry.list.name());
    match entry.expires_at {
        None => format!("{prefix} is {list}"),
        Some(at) => {
            let time = human(at.saturating_sub(entry.added_at));
            format!("{prefix} is {list} for {time}, until {}", utc(at))
        }
    }
}

/// Removes a runtime entry.
pub(super) fn remove(
    socket: &Path,
    list: RuntimeList,
    prefix: IpNet,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let entry: RuntimeEntry = call(socket, &Request::RuntimeRemove { list, prefix })?;
    if output.json {
        output.object(&entry)?;
    } else {
        output.line(&format!("{} is no longer {} at run time", entry.prefix, list.name()))?;
    }
    Ok(Exit::Done)
}

/// Lists the runtime entries of a list.
pub(super) fn list(
    socket: &Path,
    list: RuntimeList,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let entries: Vec<RuntimeEntry> = call(socket, &Request::RuntimeList { list })?;
    if output.json {
        output.object(&entries)?;
    } else if entries.is_empty() {
        output.line(&format!("nothing was {} at run time", list.name()))?;
    } else {
        output.text(&runtime_table(&entries, now()))?;
    }
    Ok(Exit::Done)
}

fn runtime_table(entries: &[RuntimeEntry], now: u64) -> String {
    let columns = ["PREFIX", "ADDED", "LAPSES", "NOTE"].map(|name| (name, Align::Left));
    let mut table = Table::new(columns);
    for entry in entries {
        let lapses = match entry.expires_at {
            None => "never".to_owned(),
            Some(at) => format!("in {}", human(at.saturating_sub(now))),
        };
        let note = entry.note.clone().unwrap_or_default();
        table.row([entry.prefix.to_string(), utc(entry.added_at), lapses, note]);
    }
    table.render("")
}

/// Blocks an address for a time.
pub(super) fn temporary_add(
    socket: &Path,
    address: IpAddr,
    seconds: u64,
    force: bool,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let entry: TemporaryEntry = call(socket, &Request::TemporaryAdd { address, seconds, force })?;
    let warning = approved_first(socket, address, entry.prefix);
    if output.json {
        output.object(&WithWarning { entry: &entry, warning })?;
    } else {
        let time = human(entry.remaining_s);
        output.line(&format!("{} is blocked for {time}", entry.prefix))?;
        if let Some(warning) = warning {
            output.warning(&warning)?;
        }
    }
    Ok(Exit::Done)
}

/// Lifts a temporary block.
pub(super) fn temporary_remove(
    socket: &Path,
    address: IpAddr,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let entry: TemporaryEntry = call(socket, &Request::TemporaryRemove { address })?;
    if output.json {
        output.object(&entry)?;
    } else {
        let time = human(entry.remaining_s);
        let what = match entry.reason == Reason::Guessing.name() {
            true => "deferral of mail from",
            false => "temporary block on",
        };
        output.line(&format!("Lifted the {what} {} ({time} was left)", entry.prefix))?;
    }
    Ok(Exit::Done)
}

/// Lists the temporary blocks.
pub(super) fn temporary_list(socket: &Path, output: &mut Output) -> Result<Exit, CliError> {
    let entries: Vec<TemporaryEntry> = call(socket, &Request::TemporaryList)?;
    if output.json {
        output.object(&entries)?;
    } else if entries.is_empty() {
        output.line("No temporary blocks.")?;
    } else {
        output.text(&temporary_table(&entries))?;
    }
    Ok(Exit::Done)
}

fn temporary_table(entries: &[TemporaryEntry]) -> String {
    let columns = ["PREFIX", "LAPSES", "REASON"].map(|name| (name, Align::Left));
    let mut table = Table::new(columns);
    for entry in entries {
        let lapses = format!("in {}", human(entry.remaining_s));
        table.row([entry.prefix.to_string(), lapses, entry.reason.clone()]);
    }
    table.render("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(prefix: &str, note: Option<&str>, expires_at: Option<u64>) -> RuntimeEntry {
        RuntimeEntry {
            list: RuntimeList::Blocked,
            prefix: prefix.parse().unwrap(),
            note: note.map(str::to_owned),
            added_at: 1_795_407_247,
            expires_at,
        }
    }

    #[test]
    fn an_addition_says_what_stands_now() {
        assert_eq!(added(&entry("192.0.2.0/24", None, None)), "192.0.2.0/24 is blocked");
        assert_eq!(
            added(&entry("192.0.2.0/24", None, Some(1_795_416_247))),
            "192.0.2.0/24 is blocked for 2h 30m, until 2026-11-23 06:44:07 UTC"
        );
    }

    #[test]
    fn runtime_entries_are_a_table() {
        let entries = [
            entry("192.0.2.0/24", Some("ticket 4711"), None),
            entry("2001:db8:1234::/48", None, Some(1_795_416_247)),
        ];
        assert_eq!(
            runtime_table(&entries, 1_795_416_187),
            "\
PREFIX              ADDED                    LAPSES  NOTE
192.0.2.0/24        2026-11-23 04:14:07 UTC  never   ticket 4711
2001:db8:1234::/48  2026-11-23 04:14:07 UTC  in 1m
"
        );
    }

    #[test]
    fn temporary_blocks_are_a_table() {
        let block = |prefix: &str, reason: &str, remaining_s| TemporaryEntry {
            prefix: prefix.parse().unwrap(),
            reason: reason.to_owned(),
            remaining_s,
        };
        let entries =
            [block("192.0.2.1/32", "operator", 599), block("2001:db8::/64", "operator", 7_200)];
        assert_eq!(
            temporary_table(&entries),
            "\
PREFIX         LAPSES     REASON
192.0.2.1/32   in 9m 59s  operator
2001:db8::/64  in 2h      operator
"
        );
    }
}
