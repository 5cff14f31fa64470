//! How much is kept, for how long, and where.

use std::path::PathBuf;
use std::time::Duration;

use crate::io::clock;

/// How records are kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder.
    pub folder: PathBuf,
    /// How long records are kept.
    pub age: Duration,
    /// Maximum number of bytes; the oldest records are removed first. It is checked every
    /// ten seconds, between which there may be more.
    pub bytes: u64,
    /// Maximum number of bytes of the audit trail, apart from the records.
    pub audit_bytes: u64,
    /// Maximum number of records in one file.
    pub file_rows: u64,
    /// Maximum number of entries that wait to be written.
    pub queue: usize,
    /// Maximum number of bytes that they take.
    pub queue_bytes: u64,
    /// Time limit of a search, or of any other question.
    pub patience: Duration,
    /// The time: milliseconds of the Unix epoch.
    pub clock: fn() -> u64,
    /// The time that nobody sets: nanoseconds of CLOCK_BOOTTIME.
    pub steady: fn() -> u64,
}

impl Options {
    /// The default options.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            age: Duration::from_secs(90 * 86_400),
            bytes: 10 << 30,
            audit_bytes: 64 << 20,
            file_rows: 500_000,
            queue: 65_536,
            queue_bytes: 32 << 20,
            patience: Duration::from_secs(10),
            clock: clock::unix_ms,
            steady: clock::boot_ns,
        }
    }
}
