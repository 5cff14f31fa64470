//! `[log]`: log lines.

use serde::Serialize;

use crate::config::section::Section;
use crate::config::section::key::{Chapter, Key, keys};

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "Log", sections: &["log"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("log");

keys! {
    /// The least important log lines that are written; `debug` writes each sampled SYN
    restart LEVEL = "level";
    /// The format of log lines on standard error
    restart FORMAT = "format";
}

/// Logging.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Log {
    /// The least important lines that are written.
    pub level: Level,
    /// How they are written.
    pub format: Format,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Level {
    /// Errors only.
    Error,
    /// Warnings too.
    Warn,
    /// What an operator would like to know.
    Info,
    /// Every sampled SYN.
    Debug,
    /// Everything.
    Trace,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Format {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Reads `[log]`.
pub(in crate::config) fn read(section: Section<'_>) -> Log {
    let log = Log {
        level: section.choice(
            LEVEL,
            &[
                ("error", Level::Error),
                ("warn", Level::Warn),
                ("info", Level::Info),
                ("debug", Level::Debug),
                ("trace", Level::Trace),
            ],
            Level::Info,
        ),
        format: section.choice(
            FORMAT,
            &[("text", Format::Text), ("json", Format::Json)],
            Format::Text,
        ),
    };
    section.finish();
    log
}
