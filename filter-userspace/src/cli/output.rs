//! Output: buffered standard output, as JSON or as text for people, and errors.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, Write};

use serde::Serialize;

use crate::text;

/// Standard output, and how to write to it.
///
/// It is buffered; flush it before waiting for input.
pub(super) struct Output {
    to: BufWriter<Sink>,
    /// Whether to write JSON objects instead of text.
    pub(super) json: bool,
    /// How text is highlighted.
    pub(super) style: Style,
    /// Whether standard output is a terminal.
    pub(super) is_terminal: bool,
}

enum Sink {
    Stdout(io::Stdout),
    #[cfg(test)]
    Captured(Vec<u8>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            #[cfg(test)]
            Self::Captured(text) => text.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            #[cfg(test)]
            Self::Captured(_) => Ok(()),
        }
    }
}

impl Output {
    /// Standard output; coloured on a terminal, unless `NO_COLOR` or `TERM` forbids it.
    pub(super) fn standard(json: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        // https://no-color.org: present and not empty.
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            to: BufWriter::with_capacity(64 * 1024, Sink::Stdout(io::stdout())),
            json,
            style: Style { colour: is_terminal && !unwanted && !dumb },
            is_terminal,
        }
    }

    /// Writes text unchanged.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.to.write_all(text.as_bytes())
    }

    /// Writes bytes unchanged.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)
    }

    /// Writes a line of text.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        self.text(text)?;
        self.text("\n")
    }

    /// Writes an object as one line of JSON.
    pub(super) fn object<T: Serialize>(&mut self, object: &T) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, object)?;
        self.text("\n")
    }

    /// Writes a warning as part of the result.
    pub(super) fn warning(&mut self, text: &str) -> io::Result<()> {
        let label = self.style.paint("warning:", Colour::Yellow);
        self.line(&format!("{label} {}", clean(text)))
    }

    /// Writes out the buffer.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    #[cfg(test)]
    pub(super) fn captured(json: bool) -> Self {
        Self {
            to: BufWriter::new(Sink::Captured(Vec::new())),
            json,
            style: Style { colour: false },
            is_terminal: false,
        }
    }

    #[cfg(test)]
    pub(super) fn captured_text(&mut self) -> String {
        self.to.flush().unwrap();
        match self.to.get_mut() {
            Sink::Captured(text) => String::from_utf8(std::mem::take(text)).unwrap(),
            Sink::Stdout(_) => String::new(),
        }
    }
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    kind: &'a str,
    message: &'a str,
}

/// Reports an error on standard error. A failure of that is ignored: there is no other place
/// to report it.
pub(super) fn report(json: bool, kind: &str, message: &str) {
    let mut text = if json {
        let object = ErrorObject { error: ErrorBody { kind, message } };
        serde_json::to_string(&object).unwrap_or_default()
    } else {
        format!("error: {}", clean(message))
    };
    text.push('\n');
    let _ = io::stderr().write_all(text.as_bytes());
}

/// How text is highlighted on a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) colour: bool,
}

/// Why text is highlighted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Colour {
    /// A heading.
    Bold,
    /// An error or an alarm.
    Red,
    /// A warning.
    Yellow,
}

impl Style {
    /// The text, highlighted if colours are on.
    pub(super) fn paint(self, text: &str, colour: Colour) -> String {
        let code = match colour {
            Colour::Bold => "1",
            Colour::Red => "1;31",
            Colour::Yellow => "33",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The text with every character escaped that a terminal would interpret: file names and lines
/// of lists come from others. Line breaks stay.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    text::escape_untrusted(text, |letter| letter == '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(clean("plain\nlines"), "plain\nlines");
        assert_eq!(clean("a\x1b[2Jb\r\u{9b}\u{202e}c"), "a\\u{1b}[2Jb\\r\\u{9b}\\u{202e}c");
    }

    #[test]
    fn colour_is_for_terminals() {
        let (with, without) = (Style { colour: true }, Style { colour: false });
        assert_eq!(with.paint("ALARM", Colour::Red), "\x1b[1;31mALARM\x1b[0m");
        assert_eq!(without.paint("ALARM", Colour::Red), "ALARM");
    }
}
