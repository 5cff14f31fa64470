//! Log output: standard error, as text or JSON.
//!
//! An event is one line, whatever text of others it contains: [`Lines`] ensures that for all
//! events.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{Format, Level, Log};
use crate::text;

/// Libraries that would log secrets at finer levels: the password of a directory, and queried
/// names, which contain the key of a DNS list.
const DISCREET: [&str; 5] =
    ["ldap3=warn", "lber=warn", "hickory_resolver=warn", "hickory_net=warn", "hickory_proto=warn"];

/// Starts logging as configured. `MXDP_LOG` overrides the level, in the syntax of
/// tracing-subscriber's directives, except for the libraries in [`DISCREET`]. The second call does
/// nothing.
pub fn start(log: Log) {
    let level = match log.level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    // Libraries log warnings only; the kernel program's own lines are enabled by filter.debug.
    let directives = format!("warn,mxdp={level},filter_ebpf=trace");
    let filter = EnvFilter::try_from_env("MXDP_LOG").unwrap_or_else(|_| EnvFilter::new(directives));
    let discreet = DISCREET.iter().filter_map(|directive| directive.parse().ok());
    let filter = discreet.fold(filter, EnvFilter::add_directive);
    let is_plain = std::env::var_os("NO_COLOR").is_some() || !io::stderr().is_terminal();
    let lines = Lines { json: log.format == Format::Json, colours: !is_plain };
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines).with_ansi(!is_plain);
    let started = match log.format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().try_init(),
    };
    // Another subscriber is installed already, for example in a test.
    _ = started;
}

/// Writes whole events, each as one line without active characters.
#[derive(Clone, Copy, Debug)]
struct Lines {
    json: bool,
    /// With colours, the escape character is the formatter's own; the formatter escapes all others.
    colours: bool,
}

impl Lines {
    fn line<'a>(self, event: &'a str) -> Cow<'a, str> {
        let event = event.strip_suffix('\n').unwrap_or(event);
        if self.json {
            return in_json(event);
        }
        text::escape_untrusted(event, |letter| self.colours && letter == '\u{1b}')
    }
}

/// Escapes active characters in JSON, which keeps its value: outside of strings there are none, and
/// inside strings they may be escaped (RFC 8259 section 7).
fn in_json(text: &str) -> Cow<'_, str> {
    if !text.contains(text::is_active) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if text::is_active(letter) {
            // All of them are in the first plane. Writing into a string does not fail.
            _ = write!(line, "\\u{:04x}", u32::from(letter));
        } else {
            line.push(letter);
        }
    }
    Cow::Owned(line)
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

impl Write for Lines {
    /// The formatter writes a whole event at once.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = self.line(&text).into_owned();
        line.push('\n');
        io::stderr().write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_in_which_nothing_acts() {
        let lines = Lines { json: false, colours: false };
        assert_eq!(
            lines.line("a\nb\u{1b}[2J\u{2028}c\u{202e}d\n"),
            "a\\nb\\u{1b}[2J\\u{2028}c\\u{202e}d"
        );
        let coloured = Lines { colours: true, ..lines };
        assert_eq!(
            coloured.line("\u{1b}[32mINFO\u{1b}[0m a\u{9b}\n"),
            "\u{1b}[32mINFO\u{1b}[0m a\\u{9b}"
        );
    }

    #[test]
    fn json_stays_the_same_value() {
        let lines = Lines { json: true, colours: false };
        let value = serde_json::json!({ "a\u{2029}": "x\ny\u{9b}\u{202e}\"\\\u{1f600}" });
        let line = lines.line(&value.to_string()).into_owned();
        assert!(!line.contains(text::is_active), "{line}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
    }

    #[test]
    fn no_directive_of_ours_is_wrong() {
        for directive in DISCREET {
            assert!(directive.parse::<tracing_subscriber::filter::Directive>().is_ok());
        }
    }
}
