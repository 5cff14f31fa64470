//! Managed entries: addresses that operators approve or block while the daemon runs, beside
//! the list files.
//!
//! Pure values, to which the time is an argument; [`crate::io::runtime_file`] and
//! [`crate::io::runtime_journal`] keep them.

mod entries;
mod entry;
mod journal;
mod json;

pub use entries::{Added, Addition, RuntimeEntries};
pub use entry::{ENTRY_LIMIT, LONGEST_S, NOTE_LIMIT, RuntimeEntry, RuntimeError, RuntimeList};
pub use journal::{Step, StepError};
