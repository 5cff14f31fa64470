//! `[record]`: where the mail log is kept, for how long, and what of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::config::section::key::{Chapter, Key, keys};
use crate::config::section::{Section, Unit};
use crate::config::values::read_absolute;

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter =
    Chapter { title: "The mail log", sections: &["record"], before: "", after: "" };

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("record");

keys! {
    /// The folder of the mail log (SQLite files) and the audit trail (`audit/`); root only
    restart FOLDER = "folder";
    /// How long log entries are kept. Older ones are not shown, and their files are deleted
    /// within a day
    restart DAYS = "days";
    /// The size limit of the mail log, checked every ten seconds. The oldest file (at most an
    /// eighth of the limit or 500,000 entries) is deleted first. An entry takes about 500
    /// bytes. Beyond 64 KiB of refusals a minute (32 MiB of deliveries), a client's entries of
    /// the same reason become one with a count; so do refusals beyond 256 KiB of an IPv6 /48
    /// (under its first address) and 2 MiB of all strangers (under `::` and `0.0.0.0`). Damaged
    /// files that were put aside count too
    restart BYTES = "bytes";
    /// The size limit of the audit trail (`mxdp audit`). It has files of its own beside the
    /// mail log, so that no traffic displaces it; the oldest changes are deleted first, an
    /// eighth at a time
    restart AUDIT_BYTES = "audit_bytes";
    /// Whether subjects are kept in the mail log and in the log
    restart SUBJECT = "subject";
}

/// How the record is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordKeeping {
    /// The folder.
    pub folder: PathBuf,
    /// For how long.
    #[serde(rename = "days", serialize_with = "in_seconds")]
    pub age: Duration,
    /// In how many bytes; the oldest records go first.
    pub bytes: u64,
    /// In how many bytes the audit trail is kept, apart from the records.
    pub audit_bytes: u64,
    /// Whether subjects are kept.
    pub subject: bool,
}

/// Reads `[record]`; without a folder it is one in that of the state.
pub(in crate::config) fn read(section: Section<'_>, state: &Path) -> RecordKeeping {
    let default = state.join("record");
    section.describe(FOLDER, "", "`record` in `state.folder`");
    let keeping = RecordKeeping {
        folder: read_absolute(&section, FOLDER, &default),
        age: section.duration(DAYS, Unit::Days, 1..=3650, 90),
        bytes: section.size(BYTES, 1_048_576..=1_099_511_627_776, 10_737_418_240),
        audit_bytes: section.size(AUDIT_BYTES, 1_048_576..=17_179_869_184, 67_108_864),
        subject: section.boolean(SUBJECT, true),
    };
    section.finish();
    keeping
}

fn in_seconds<S: Serializer>(age: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(age.as_secs())
}
