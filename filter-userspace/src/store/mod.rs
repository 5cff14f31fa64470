//! Where the mail log is kept: engines behind two traits, and the list of them.
//!
//! Entries come in by a [`Sink`], which never waits; an [`Archive`] answers searches
//! ([`traits`]); [`fan_out`] feeds several sinks. An engine is a file or folder of its own: `sqlite/` keeps records in SQLite
//! files, written by one thread and read by those that search. `audit/` keeps what operators
//! change. May import `record` and the clocks, queues and files of `io`.
//!
//! To add an engine: write its file, start it in [`open`], and name it in
//! `tests/conformance.rs`.

mod audit;
mod entry;
mod fan_out;
mod losses;
mod options;
mod sqlite;
#[cfg(test)]
mod tests;
mod traits;

use std::fs;
use std::path::Path;
use std::sync::Arc;

pub use self::entry::{Entry, Frames};
use self::fan_out::FanOut;
pub use self::options::Options;
pub use self::traits::{Archive, Health, LATELY, Sink, SinkHealth, StoreError};

/// An open mail log.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Takes entries.
    pub sink: Arc<dyn Sink>,
    /// Answers searches.
    pub archive: Arc<dyn Archive>,
}

/// Starts the engines. The first one answers searches; each further one, a sink that is named
/// in `others`, is fed beside it.
#[must_use]
pub fn open(options: &Options) -> Opened {
    let sqlite = Arc::new(sqlite::SqliteStore::start(options.clone()));
    let others = Vec::new();
    let sink = FanOut::new(sqlite.clone(), others, options);
    Opened { sink: Arc::new(sink), archive: sqlite }
}

/// Removes the mail log and the audit trail of a folder, and the folder if nothing else is
/// in it.
pub fn remove(folder: &Path) {
    sqlite::remove(folder);
    audit::remove_all(folder);
    // A folder with other files stays.
    _ = fs::remove_dir(folder);
}
