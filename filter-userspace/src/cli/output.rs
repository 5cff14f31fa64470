//! Where text goes: buffered standard output, JSON or for people, and errors.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, Write};

use serde::Serialize;

use crate::text;

/// Standard output and how to write to it.
///
/// It is buffered; who waits for more input flushes it first.
pub(super) struct Output {
    to: BufWriter<Sink>,
    /// Objects, not text.
    pub(super) json: bool,
    /// How text is set off.
    pub(super) style: Style,
    /// Whether a person looks at it.
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
    /// Standard output; coloured if a person looks at it and has not said no.
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

    /// Text as it is.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.to.write_all(text.as_bytes())
    }

    /// Bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)
    }

    /// A line of text.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        self.text(text)?;
        self.text("\n")
    }

    /// An object on a line.
    pub(super) fn object<T: Serialize>(&mut self, object: &T) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, object)?;
        self.text("\n")
    }

    /// A warning, as part of the answer.
    pub(super) fn warning(&mut self, text: &str) -> io::Result<()> {
        let label = self.style.paint("warning:", Colour::Yellow);
        self.line(&format!("{label} {}", clean(text)))
    }

    /// Hands over what is buffered.
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

/// Says on standard error what went wrong. If even that fails there is nobody
/// left to tell.
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

/// How text is set off on a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) colour: bool,
}

/// What text is set off for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Colour {
    /// A heading.
    Bold,
    /// What is wrong.
    Red,
    /// What may be wrong.
    Yellow,
}

impl Style {
    /// The text, set off if anything is.
    pub(super) fn paint(self, text: &str, colour: Colour) -> String {
        let code = match colour {
            Colour::Bold => "1",
            Colour::Red => "1;31",
            Colour::Yellow => "33",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The text without what a terminal would obey: file names and list lines come
/// from others. Line breaks stay.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    text::escape_untrusted(text, |letter| letter == '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_terminal_obeys_is_printed() {
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
