//! `approve`, `block` and `temp`: add, remove and list managed entries and temporary blocks.

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

/// Adds or replaces a managed entry.
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
        // The approval is made: a lookup that fails now is not an error.
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

/// An entry that was added, with a warning about its effect.
#[derive(Serialize)]
struct WithWarning<'a, T> {
    #[serde(flatten)]
    entry: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

/// A warning if an approval goes before the block, so that it has no effect. The block is made:
/// a lookup that fails now is not an error.
fn approved_first(socket: &Path, address: IpAddr, blocked: IpNet) -> Option<String> {
    let request = Request::Lookup { addresses: vec![address] };
    let answers: Vec<LiveAnswer> = call(socket, &request).ok()?;
    answers.into_iter().next()?.answer.approved_first(blocked)
}

/// `Approved` or `Blocked`, at the beginning of a sentence.
const fn done(list: RuntimeList) -> &'static str {
    match list {
        RuntimeList::Approved => "Approved",
        RuntimeList::Blocked => "Blocked",
    }
}

/// An approval or a block, as the object of a sentence.
const fn noun(list: RuntimeList) -> &'static str {
    match list {
        RuntimeList::Approved => "approval",
        RuntimeList::Blocked => "block",
    }
}

fn added(entry: &RuntimeEntry) -> String {
    let (done, prefix) = (done(entry.list), entry.prefix);
    match entry.expires_at {
        None => format!("{done} {prefix} permanently"),
        Some(at) => {
            let time = human(at.saturating_sub(entry.added_at));
            format!("{done} {prefix} for {time}, until {}", utc(at))
        }
    }
}

/// Removes a managed entry.
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
        output.line(&format!("Removed the managed {} of {}", noun(list), entry.prefix))?;
    }
    Ok(Exit::Done)
}

/// Lists the managed entries of a list.
pub(super) fn list(
    socket: &Path,
    list: RuntimeList,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let entries: Vec<RuntimeEntry> = call(socket, &Request::RuntimeList { list })?;
    if output.json {
        output.object(&entries)?;
    } else if entries.is_empty() {
        output.line(&format!("No managed {}s.", noun(list)))?;
    } else {
        output.text(&runtime_table(&entries, now()))?;
    }
    Ok(Exit::Done)
}

fn runtime_table(entries: &[RuntimeEntry], now: u64) -> String {
    let columns = ["PREFIX", "ADDED", "EXPIRES", "NOTE"].map(|name| (name, Align::Left));
    let mut table = Table::new(columns);
    for entry in entries {
        let expires = match entry.expires_at {
            None => "never".to_owned(),
            Some(at) => format!("in {}", human(at.saturating_sub(now))),
        };
        let note = entry.note.clone().unwrap_or_default();
        table.row([entry.prefix.to_string(), utc(entry.added_at), expires, note]);
    }
    table.render("")
}

/// Blocks an address temporarily.
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
        output.line(&format!("Blocked {} for {time}", entry.prefix))?;
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
    let columns = ["PREFIX", "EXPIRES", "REASON"].map(|name| (name, Align::Left));
    let mut table = Table::new(columns);
    for entry in entries {
        let expires = format!("in {}", human(entry.remaining_s));
        table.row([entry.prefix.to_string(), expires, entry.reason.clone()]);
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
    fn an_addition_is_confirmed_with_its_end() {
        assert_eq!(added(&entry("192.0.2.0/24", None, None)), "Blocked 192.0.2.0/24 permanently");
        assert_eq!(
            added(&entry("192.0.2.0/24", None, Some(1_795_416_247))),
            "Blocked 192.0.2.0/24 for 2h 30m, until 2026-11-23 06:44:07 UTC"
        );
    }

    #[test]
    fn managed_entries_are_a_table() {
        let entries = [
            entry("192.0.2.0/24", Some("ticket 4711"), None),
            entry("2001:db8:1234::/48", None, Some(1_795_416_247)),
        ];
        assert_eq!(
            runtime_table(&entries, 1_795_416_187),
            "\
PREFIX              ADDED                    EXPIRES  NOTE
192.0.2.0/24        2026-11-23 04:14:07 UTC  never    ticket 4711
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
PREFIX         EXPIRES    REASON
192.0.2.1/32   in 9m 59s  operator
2001:db8::/64  in 2h      operator
"
        );
    }
}
