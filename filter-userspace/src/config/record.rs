//! The record: where it is kept, for how long, and what of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::section::{Section, Unit};
use super::values::absolute;

/// How the record is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordKeeping {
    /// The folder.
    pub folder: PathBuf,
    /// For how long.
    pub age: Duration,
    /// In how many bytes; the oldest records go first.
    pub bytes: u64,
    /// In how many bytes the audit trail is kept, apart from the records.
    pub audit_bytes: u64,
    /// Whether subjects are kept.
    pub subject: bool,
}

/// Reads `[record]`; without a folder it is one in that of the state.
pub(super) fn record(section: Section<'_>, state: &Path) -> RecordKeeping {
    let default = state.join("record");
    section.describe("folder", "", "`record` in `state.folder`");
    let keeping = RecordKeeping {
        folder: absolute(&section, "folder", &default),
        age: section.duration("days", Unit::Days, 1..=3650, 90),
        bytes: section.size("bytes", 1_048_576..=1_099_511_627_776, 10_737_418_240),
        audit_bytes: section.size("audit_bytes", 1_048_576..=17_179_869_184, 67_108_864),
        subject: section.boolean("subject", true),
    };
    section.finish();
    keeping
}
