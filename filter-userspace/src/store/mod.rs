//! Where records are kept: a folder of SQLite files, written by one thread and read
//! by whoever searches.
//!
//! Entries come in by [`Store::add`], which never waits; pages of records go out. A
//! file holds a day, [`Options::file_rows`] records or an eighth of [`Options::bytes`],
//! whichever is least, so that what is old goes by removing a file, and no vacuum is
//! ever needed. [`writer`] fills the newest, [`reader`] searches them from the newest
//! on, [`files`] knows which there are. [`audit`] keeps what operators change, apart from
//! the records, so that no traffic evicts it. May import `record` and the clocks of `io`.

mod audit;
mod files;
mod reader;
mod schema;
mod sqlite;
mod summary;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::sqlite::SqliteStore;
use crate::io::clock;
use crate::record::{Change, Changes, Page, Query, Record, Summary};

/// Removes what is kept in a folder, and the folder if nothing else is in it.
pub fn remove(folder: &Path) {
    files::remove_all(folder);
}

/// Where records go and are found. An engine for many edges would be another one.
pub trait Store: Send + Sync + fmt::Debug {
    /// Takes an entry, now or never: what there is no room for is counted. A record for which
    /// its client's network has no share of the room comes back, to be folded.
    fn add(&self, entry: Entry) -> Option<Record>;

    /// The newest records of a query; blocks while files are read.
    ///
    /// # Errors
    ///
    /// If the search takes too long. A file that cannot be read is skipped, and the page
    /// says so.
    fn search(&self, query: &Query) -> Result<Page, StoreError>;

    /// The newest changes that operators made, at most `limit`.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    fn changes(&self, limit: usize) -> Result<Changes, StoreError>;

    /// What happened from a time to another (milliseconds of the Unix epoch), summed
    /// up in steps.
    ///
    /// # Errors
    ///
    /// If that takes too long. A file that cannot be read is skipped, and the summary says
    /// so.
    fn summary(&self, since: u64, until: u64) -> Result<Summary, StoreError>;

    /// How it is.
    fn health(&self) -> Health;

    /// Waits until what came before is written, at most for `patience`; says whether
    /// it was.
    fn flush(&self, patience: Duration) -> bool;
}

/// What is kept.
#[derive(Clone, Debug)]
pub enum Entry {
    /// What became of a recipient, or of SYNs: those of a source, reason and minute
    /// become one.
    Record(Box<Record>),
    /// What an operator changed; it goes to the audit trail.
    Change(Change),
    /// What the packet filter counted since the last time.
    Frames(u64, Vec<Frames>),
}

/// Frames that the packet filter counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frames {
    /// The reason.
    pub reason: String,
    /// `ipv4`, `ipv6` or `other`.
    pub family: String,
    /// How many.
    pub frames: u64,
}

impl Entry {
    /// About how many bytes it takes in memory.
    fn weight(&self) -> u64 {
        match self {
            Self::Record(record) => record.weight(),
            // Of operators, and as many as there are reasons.
            Self::Change(_) | Self::Frames(..) => 4 << 10,
        }
    }

    /// When it was: milliseconds of the Unix epoch.
    const fn time(&self) -> u64 {
        match self {
            Self::Record(record) => record.time,
            Self::Change(change) => change.time,
            Self::Frames(time, _) => *time,
        }
    }
}

/// For how long it is said that entries found no room, after the last.
pub const LATELY: Duration = Duration::from_secs(60);

/// How a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why nothing can be written; none when it can.
    pub error: Option<String>,
    /// Entries that found no room.
    pub lost: u64,
    /// Whether one of them did lately: within [`LATELY`].
    pub is_losing: bool,
    /// Entries written since the start.
    pub written: u64,
    /// Records that are kept.
    pub records: u64,
    /// The bytes that they take, with those of damaged files that were put aside.
    pub bytes: u64,
    /// What of the mail log cannot be read, a sentence each.
    pub unreadable: Vec<String>,
    /// Why no change can be written to the audit trail; none when they can.
    pub audit_error: Option<String>,
    /// What of the audit trail cannot be read, a sentence each.
    pub audit_damaged: Vec<String>,
    /// Changes that found no room in the audit trail.
    pub audit_lost: u64,
}

/// How records are kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder.
    pub folder: PathBuf,
    /// For how long.
    pub age: Duration,
    /// In how many bytes; the oldest go first. Looked at every ten seconds, between which
    /// there may be more.
    pub bytes: u64,
    /// In how many bytes the audit trail is kept, apart from the records.
    pub audit_bytes: u64,
    /// The most records of one file.
    pub file_rows: u64,
    /// The entries that may wait to be written, and the bytes that they take.
    pub queue: usize,
    /// See there.
    pub queue_bytes: u64,
    /// How long a search, or any other look at what is kept, may take.
    pub patience: Duration,
    /// The time: milliseconds of the Unix epoch.
    pub clock: fn() -> u64,
    /// The time that nobody sets: nanoseconds of CLOCK_BOOTTIME.
    pub steady: fn() -> u64,
}

impl Options {
    /// The usual ones.
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

/// Why records cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The search was cut off.
    #[error("the search took longer than {} s: narrow it, by a time range for example", .0.as_secs())]
    TooLong(Duration),
    /// A file cannot be used.
    #[error("{}: {error}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        error: String,
        /// Whether it is no longer a file of SQLite's.
        damaged: bool,
    },
}

impl StoreError {
    fn of(path: &Path, error: impl fmt::Display) -> Self {
        Self::File { path: path.to_owned(), error: error.to_string(), damaged: false }
    }

    fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let code = error.sqlite_error().map(|error| error.extended_code);
        let damaged = matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
            // The file is shorter than it was.
            || code == Some(rusqlite::ffi::SQLITE_IOERR_SHORT_READ)
            // It was emptied, or is another program's.
            || ["no such table", "no such column"].iter().any(|sign| {
                error.to_string().contains(sign)
            });
        Self::File { path: path.to_owned(), error: error.to_string(), damaged }
    }

    fn damaged(path: &Path, error: impl fmt::Display) -> Self {
        Self::File { path: path.to_owned(), error: error.to_string(), damaged: true }
    }

    /// What is wrong, without the file's name.
    fn reason(&self) -> String {
        match self {
            Self::TooLong(_) => self.to_string(),
            Self::File { error, .. } => error.clone(),
        }
    }

    const fn is_damage(&self) -> bool {
        matches!(self, Self::File { damaged: true, .. })
    }
}
