//! `lookup`: what happens to addresses.
//!
//! Addresses stream: answers are printed whenever the input pauses, and a hundred
//! thousand of them take only a few writes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;

use super::args::Address;
use super::error::{CliError, Exit};
use super::output::{Output, clean, report};
use crate::control::client::call;
use crate::control::protocol::{LOOKUP_LIMIT, LiveAnswer, Request};
use crate::lists::Answer;
use crate::offline::Lookup;

/// The longest line of standard input, in bytes; the rest of a line is ignored.
const LINE_LIMIT: u64 = 1024;

/// Answers by the configuration and its lists.
pub(super) fn from_files(
    config: &Path,
    addresses: &[Address],
    output: &mut Output,
) -> Result<Exit, CliError> {
    let lookup = Lookup::open(config).map_err(CliError::configuration)?;
    let mut answers = |batch: &[IpAddr], output: &mut Output| {
        for ip in batch {
            let answer = lookup.answer(*ip);
            if output.json {
                output.object(&answer)?;
            } else {
                output.line(&sentence(&answer))?;
            }
        }
        Ok(Exit::Done)
    };
    each_batch(addresses, output, &mut answers)
}

/// Answers by the daemon and the kernel.
pub(super) fn live(
    socket: &Path,
    addresses: &[Address],
    output: &mut Output,
) -> Result<Exit, CliError> {
    let mut answers = |batch: &[IpAddr], output: &mut Output| {
        let request = Request::Lookup { addresses: batch.to_vec() };
        let answers: Vec<LiveAnswer> = call(socket, &request)?;
        let mut exit = Exit::Done;
        for answer in &answers {
            if output.json {
                output.object(answer)?;
            } else {
                output.line(&live_sentence(answer))?;
            }
            if !answer.agree {
                report(output.json, "disagreement", &disagreement(answer));
                exit = Exit::Disagreement;
            }
        }
        Ok(exit)
    };
    each_batch(addresses, output, &mut answers)
}

/// Answers a batch of at most [`LOOKUP_LIMIT`] addresses.
type Answers<'a> = &'a mut dyn FnMut(&[IpAddr], &mut Output) -> Result<Exit, CliError>;

fn each_batch(
    addresses: &[Address],
    output: &mut Output,
    answers: Answers<'_>,
) -> Result<Exit, CliError> {
    if addresses.contains(&Address::Stdin) {
        // Not `io::stdin()`, which does not show whether its buffer is empty.
        let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(read_error)?;
        return from_reader(BufReader::with_capacity(1 << 16, File::from(stdin)), output, answers);
    }
    let given = addresses.iter().filter_map(|address| match address {
        Address::Ip(ip) => Some(ip.to_canonical()),
        Address::Stdin => None,
    });
    let given: Vec<IpAddr> = given.collect();
    let mut exit = Exit::Done;
    for batch in given.chunks(LOOKUP_LIMIT) {
        exit = exit.max(answers(batch, output)?);
    }
    Ok(exit)
}

/// Answers the addresses of `input`, one per line. A batch is answered when it is
/// full, and when nothing more can be read without waiting.
fn from_reader<R: Read>(
    mut input: BufReader<R>,
    output: &mut Output,
    answers: Answers<'_>,
) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    let mut batch = Vec::with_capacity(LOOKUP_LIMIT);
    let mut line = Vec::new();
    for number in 1_u64.. {
        let pauses = !input.buffer().contains(&b'\n');
        if !batch.is_empty() && (pauses || batch.len() == LOOKUP_LIMIT) {
            exit = exit.max(answers(&batch, output)?);
            batch.clear();
        }
        if pauses {
            output.flush()?;
        }
        line.clear();
        let read = input.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line);
        if read.map_err(read_error)? == 0 {
            break;
        }
        if !line.ends_with(b"\n") && line.len() as u64 == LINE_LIMIT {
            input.skip_until(b'\n').map_err(read_error)?;
        }
        match address_of(&line) {
            Ok(None) => {}
            Ok(Some(ip)) => batch.push(ip),
            Err(text) => {
                let message = format!("standard input, line {number}: `{text}` is not an address");
                report(output.json, "bad_address", &message);
                exit = exit.max(Exit::Failed);
            }
        }
    }
    Ok(exit)
}

/// The address on a line, and none if the line is empty or a comment.
///
/// # Errors
///
/// The text of a line that is not an address.
fn address_of(line: &[u8]) -> Result<Option<IpAddr>, String> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let parsed = text.parse().map(|ip: IpAddr| Some(ip.to_canonical()));
    parsed.map_err(|_| text.chars().take(60).collect())
}

fn read_error(error: impl std::fmt::Display) -> CliError {
    CliError::system(format!("standard input: {error}"))
}

/// An answer on one line. The columns are aligned for addresses of usual length.
fn sentence(answer: &Answer) -> String {
    let Answer { ip, class, action, prefix, source, note, country, listed } = answer;
    let ip = ip.to_string();
    let mut text = format!("{ip:<15}  {action:<7}  {class:<17}  ");
    match (prefix, source) {
        (Some(prefix), Some(source)) => text.push_str(&format!("{prefix} at {source}")),
        (Some(prefix), None) => text.push_str(&prefix.to_string()),
        (None, Some(source)) => text.push_str(&format!("by {source}")),
        (None, None) => text.push_str("not listed"),
    }
    if let Some(country) = country {
        text.push_str(&format!("; country {country}"));
    }
    if let Some(note) = note {
        text.push_str(&format!("; note: {note}"));
    }
    let others: Vec<&str> =
        listed.iter().filter(|other| *other != class).map(String::as_str).collect();
    if !others.is_empty() {
        text.push_str(&format!("; also {}", others.join(", ")));
    }
    // One line per address, even if a note contains a line break.
    clean(&text).replace('\n', " ")
}

fn live_sentence(answer: &LiveAnswer) -> String {
    let mut text = sentence(&answer.answer);
    if let Some(block) = &answer.temporary {
        let (reason, time) = (clean(&block.reason), super::time::human(block.remaining_s));
        // If a list decides, the temporary block is additional information.
        let decides = answer.answer.source.as_deref() == Some("temporary block");
        let by = if decides { "by" } else { "temporarily blocked by" };
        text.push_str(&format!("; {by} {reason}, expires in {time}"));
    }
    let (action, reason) = (clean(&answer.kernel.action), clean(&answer.kernel.reason));
    text.push_str(&format!("; kernel: {action}, {reason}"));
    text
}

fn disagreement(answer: &LiveAnswer) -> String {
    let LiveAnswer { answer, kernel, .. } = answer;
    let classes = |classes: &[String]| match classes {
        [] => "none".to_owned(),
        classes => classes.join(", "),
    };
    format!(
        "{}: the kernel's verdict differs from the lists: the lists give {}, {} (listed: {}); \
         the kernel gives {}, {} (listed: {})",
        answer.ip,
        answer.action,
        answer.class,
        classes(&answer.listed),
        kernel.action,
        kernel.reason,
        classes(&kernel.listed),
    )
}

#[cfg(test)]
mod tests;
