//! Where the mail log is kept: engines behind two traits, and the list of them.
//!
//! Entries come in by a [`Sink`], which never waits; an [`Archive`] answers searches
//! ([`traits`]). An engine is a file or folder of its own: `sqlite/` keeps records in SQLite
//! files, written by one thread and read by those that search. `audit/` keeps what operators
//! change. May import `record` and the clocks, queues and files of `io`.
//!
//! To add an engine: write its file, start it in [`open`], and name it in `conformance`.

mod audit;
mod entry;
mod options;
mod sqlite;
mod traits;

use std::fs;
use std::path::Path;
use std::sync::Arc;

pub use self::entry::{Entry, Frames};
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

/// Starts the engines.
#[must_use]
pub fn open(options: Options) -> Opened {
    let sqlite = Arc::new(sqlite::SqliteStore::start(options));
    Opened { sink: sqlite.clone(), archive: sqlite }
}

/// Removes the mail log and the audit trail of a folder, and the folder if nothing else is
/// in it.
pub fn remove(folder: &Path) {
    sqlite::remove(folder);
    audit::remove_all(folder);
    // A folder with other files stays.
    _ = fs::remove_dir(folder);
}
