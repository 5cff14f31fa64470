//! What an error of SQLite says about the file.

use std::path::Path;

use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, OperationInterrupted};

use crate::store::traits::StoreError;

/// An error of a file: whether it is damaged, or cannot be used for another reason.
pub(super) fn failure(path: &Path, error: &rusqlite::Error) -> StoreError {
    let code = error.sqlite_error().map(|error| error.extended_code);
    let damaged = matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        // The file is shorter than it was.
        || code == Some(rusqlite::ffi::SQLITE_IOERR_SHORT_READ)
        // It was emptied, or is another program's. A missing column does not say so: a full disk
        // keeps a file of an older version from getting the columns of this one.
        || error.to_string().contains("no such table");
    if damaged { StoreError::damaged(path, error) } else { StoreError::of(path, error) }
}

/// The same for a search; none if it was cut off.
pub(super) fn failure_unless_late(path: &Path, error: &rusqlite::Error) -> Option<StoreError> {
    let is_late = error.sqlite_error_code() == Some(OperationInterrupted);
    (!is_late).then(|| failure(path, error))
}
