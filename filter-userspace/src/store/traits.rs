//! What an engine of the mail log does: take entries, answer searches, or both.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::entry::Entry;
use crate::record::{Changes, Page, Query, Record, Summary};

/// Takes entries.
pub trait Sink: Send + Sync + fmt::Debug {
    /// Takes an entry, or counts it as lost if it does not fit; never waits. A record comes
    /// back if its client's network has used its share of the queue: the caller folds it.
    fn add(&self, entry: Entry) -> Option<Record>;

    /// Waits until all earlier entries are written, at most for `patience`; returns whether
    /// they are.
    fn flush(&self, patience: Duration) -> bool;

    /// Reports its state; never waits.
    fn health(&self) -> Health;
}

/// Answers questions about entries that a sink has written.
pub trait Archive: Send + Sync + fmt::Debug {
    /// The newest records that match a query; blocks while files are read.
    ///
    /// # Errors
    ///
    /// If the search takes too long. A file that cannot be read is skipped, and the page
    /// names it.
    fn search(&self, query: &Query) -> Result<Page, StoreError>;

    /// The newest changes that operators made, at most `limit`.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    fn changes(&self, limit: usize) -> Result<Changes, StoreError>;

    /// What happened between two times (milliseconds of the Unix epoch), summed up in steps.
    ///
    /// # Errors
    ///
    /// If that takes too long. A file that cannot be read is skipped, and the summary names
    /// it.
    fn summary(&self, since: u64, until: u64) -> Result<Summary, StoreError>;
}

/// How long a loss of entries is reported after the last one.
pub const LATELY: Duration = Duration::from_secs(60);

/// The state of the mail log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why nothing can be written; none while entries are written.
    pub error: Option<String>,
    /// Entries that did not fit.
    pub lost: u64,
    /// Whether one of them was lost within [`LATELY`].
    pub is_losing: bool,
    /// Entries written since the start.
    pub written: u64,
    /// Stored records.
    pub records: u64,
    /// Bytes of the stored records, with those of damaged files that were put aside.
    pub bytes: u64,
    /// Parts of the mail log that cannot be read, a sentence each.
    pub unreadable: Vec<String>,
    /// Why no change can be written to the audit trail; none while they are written.
    pub audit_error: Option<String>,
    /// Parts of the audit trail that cannot be read, a sentence each.
    pub audit_damaged: Vec<String>,
    /// Changes that did not fit into the audit trail.
    pub audit_lost: u64,
    /// The state of each further sink of a fan-out.
    pub others: Vec<SinkHealth>,
}

/// The state of one of several sinks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkHealth {
    /// Its name.
    pub name: &'static str,
    /// Why it cannot write; none while it does.
    pub error: Option<String>,
    /// Entries that this sink lost.
    pub lost: u64,
    /// Whether one of them was lost within [`LATELY`].
    pub is_losing: bool,
}

/// Why a question cannot be answered.
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
        /// Whether its content is damaged.
        damaged: bool,
    },
}

impl StoreError {
    /// A file that cannot be used now.
    pub(super) fn of(path: &Path, error: impl fmt::Display) -> Self {
        Self::File { path: path.to_owned(), error: error.to_string(), damaged: false }
    }

    /// A damaged file.
    pub(super) fn damaged(path: &Path, error: impl fmt::Display) -> Self {
        Self::File { path: path.to_owned(), error: error.to_string(), damaged: true }
    }

    /// The cause, without the file's name.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::TooLong(_) => self.to_string(),
            Self::File { error, .. } => error.clone(),
        }
    }

    /// Whether a file is damaged.
    pub(super) const fn is_damage(&self) -> bool {
        matches!(self, Self::File { damaged: true, .. })
    }
}
