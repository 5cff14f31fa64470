//! Transcripts of SMTP dialogues, in files that a postmaster can read.
//!
//! A header names the configuration and the client, then come the lines of the
//! dialogue:
//!
//! ```text
//! configuration: basic
//! client: 198.51.100.1
//!
//! # A comment, up to the end of the line.
//! S: 220 mx.example.org ...
//! C: EHLO client.example
//! S: 250-...
//! S: 250 CHUNKING
//! ```
//!
//! - `C: TEXT` is sent with CRLF; lines that follow each other go in one piece.
//!   `C raw: TEXT` has the escapes `\r`, `\n`, `\0`, `\\` and `\xNN`, and no CRLF.
//!   `C 20 times: TEXT` is sent so many times.
//! - `S: TEXT` is the server's next line; `...` at its end stands for any rest,
//!   and `S: 250-...` for all lines of that reply but the last.
//! - `R: WORD…` is found in one record of the daemon's log, in any order.
//! - `$ mxdp COMMAND…` runs a command; `$ stop` sends the daemon SIGTERM.
//! - `-- STARTTLS --` and `-- TLS --` are the handshake, `-- closed --` the
//!   server's end, `-- hang up --` the client's, `-- dropped --` a connection that
//!   is not answered, `-- wait 1500ms --` time, `-- another connection --` (or
//!   `-- another connection from ADDRESS --`) one more beside, and
//!   `-- connection 1 --` the way back.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file's dialogue.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// The name of the file, without its ending.
    pub name: String,
    /// The configuration, without its ending.
    pub configuration: String,
    /// Where the client connects from.
    pub client: IpAddr,
    /// Where it connects to.
    pub server: SocketAddr,
    /// The client certificate that it shows: `valid` or `stranger`.
    pub certificate: Option<String>,
    /// Whether the client knows TLS 1.2 at best.
    pub old_tls: bool,
    /// The steps, each with its line.
    pub steps: Vec<(usize, Step)>,
}

/// A line of a transcript, or several that are sent in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bytes of the client.
    Send(Vec<u8>),
    /// A line of the server.
    Expect(String),
    /// Words of a record.
    Record(Vec<String>),
    /// A command of mxdp.
    Run(Vec<String>),
    /// The daemon is told to end.
    Stop,
    /// The TLS handshake.
    Handshake,
    /// The server's end.
    Closed,
    /// The client's end.
    HangUp,
    /// No answer to the SYN.
    Dropped,
    /// Time passes.
    Wait(Duration),
    /// One more connection.
    Connect(Option<IpAddr>),
    /// Back to a connection, from 0.
    Switch(usize),
}

/// The folder of the transcripts.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}

/// Every transcript, by name.
///
/// # Panics
///
/// When a file is not a transcript.
#[must_use]
pub fn all() -> Vec<Transcript> {
    let files = fs::read_dir(folder()).expect("the transcripts");
    let mut all: Vec<_> = files
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("text in UTF-8");
            parse(&name, &text).unwrap_or_else(|error| panic!("{name}.txt:{error}"))
        })
        .collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// Reads a transcript.
///
/// # Errors
///
/// The line that is wrong, and what it is.
pub fn parse(name: &str, text: &str) -> Result<Transcript, String> {
    let mut transcript = Transcript {
        name: name.to_owned(),
        configuration: String::new(),
        client: IpAddr::from([198, 51, 100, 1]),
        server: SocketAddr::from(([192, 0, 2, 25], 25)),
        certificate: None,
        old_tls: false,
        steps: Vec::new(),
    };
    let mut in_header = true;
    let mut follows = false;
    for (number, line) in (1..).zip(text.lines()) {
        let wrong = || format!("{number}: {line}");
        if line.is_empty() || line.starts_with('#') {
            in_header &= !line.is_empty();
            follows = false;
            continue;
        }
        if in_header {
            header(&mut transcript, line).ok_or_else(wrong)?;
            continue;
        }
        let step = step(line).ok_or_else(wrong)?;
        match (step, transcript.steps.last_mut()) {
            (Step::Send(more), Some((_, Step::Send(bytes)))) if follows => bytes.extend(more),
            (step, _) => {
                follows = matches!(step, Step::Send(_));
                transcript.steps.push((number, step));
            }
        }
    }
    if transcript.configuration.is_empty() {
        return Err("1: which configuration?".to_owned());
    }
    Ok(transcript)
}

fn header(transcript: &mut Transcript, line: &str) -> Option<()> {
    let (key, value) = line.split_once(": ")?;
    match key {
        "configuration" => transcript.configuration = value.to_owned(),
        "client" => transcript.client = value.parse().ok()?,
        "server" => transcript.server = value.parse().ok()?,
        "certificate" => transcript.certificate = Some(value.to_owned()),
        "tls" if value == "1.2" => transcript.old_tls = true,
        _ => return None,
    }
    Some(())
}

fn step(line: &str) -> Option<Step> {
    if let Some(inner) = line.strip_prefix("-- ") {
        return event(inner.strip_suffix(" --")?);
    }
    if let Some(command) = line.strip_prefix("$ ") {
        let mut found = words(command);
        return match found.first()?.as_str() {
            "stop" => Some(Step::Stop),
            "mxdp" => Some(Step::Run(found.split_off(1))),
            _ => None,
        };
    }
    let (who, text) = line.split_once(':')?;
    let text = text.strip_prefix(' ').unwrap_or(text);
    match who {
        "C" => Some(Step::Send(format!("{text}\r\n").into_bytes())),
        "C raw" => unescape(text).map(Step::Send),
        "S" => Some(Step::Expect(text.to_owned())),
        "R" => Some(Step::Record(words(text))),
        _ => {
            let count = who.strip_prefix("C ")?.strip_suffix(" times")?.parse().ok()?;
            Some(Step::Send(format!("{text}\r\n").repeat(count).into_bytes()))
        }
    }
}

fn event(text: &str) -> Option<Step> {
    Some(match text {
        "STARTTLS" | "TLS" => Step::Handshake,
        "closed" => Step::Closed,
        "hang up" => Step::HangUp,
        "dropped" => Step::Dropped,
        "another connection" => Step::Connect(None),
        _ => match text.rsplit_once(' ')? {
            ("wait", time) => match time.strip_suffix("ms") {
                Some(time) => Step::Wait(Duration::from_millis(time.parse().ok()?)),
                None => Step::Wait(Duration::from_secs(time.strip_suffix('s')?.parse().ok()?)),
            },
            ("another connection from", address) => Step::Connect(Some(address.parse().ok()?)),
            ("connection", number) => Step::Switch(number.parse::<usize>().ok()?.checked_sub(1)?),
            _ => return None,
        },
    })
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            bytes.extend(letter.to_string().bytes());
            continue;
        }
        bytes.push(match letters.next()? {
            'r' => b'\r',
            'n' => b'\n',
            '0' => 0,
            '\\' => b'\\',
            'x' => {
                let digits: String = letters.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).ok()?
            }
            _ => return None,
        });
    }
    Some(bytes)
}

/// Splits at spaces that are not within quotes.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for letter in text.chars() {
        quoted ^= letter == '"';
        if letter == ' ' && !quoted {
            all.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        } else {
            word.push(letter);
        }
    }
    all.extend((!word.is_empty()).then_some(word));
    all
}

/// Whether a line is as expected: the same, or the same up to `...`.
#[must_use]
pub fn matches(expected: &str, line: &str) -> bool {
    match expected.strip_suffix("...") {
        Some(start) => line.starts_with(start),
        None => line == expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_steps() {
        let text = "configuration: a\nclient: 2001:db8::1\n\nS: 220 ...\nC: A\nC raw: b\\0\\xff\n\
                    # says no\nC 2 times: x\n-- wait 20ms --\nR: a=\"b c\" d\n";
        let transcript = parse("x", text).expect("a transcript");
        let steps: Vec<_> = transcript.steps.into_iter().map(|(_, step)| step).collect();
        assert_eq!(
            steps,
            [
                Step::Expect("220 ...".to_owned()),
                Step::Send(b"A\r\nb\0\xff".to_vec()),
                Step::Send(b"x\r\nx\r\n".to_vec()),
                Step::Wait(Duration::from_millis(20)),
                Step::Record(vec!["a=\"b c\"".to_owned(), "d".to_owned()]),
            ]
        );
        assert!(parse("x", "configuration: a\n\nX: y\n").is_err());
        assert!(matches("250 a...", "250 ab") && !matches("250 a", "250 ab"));
    }
}
