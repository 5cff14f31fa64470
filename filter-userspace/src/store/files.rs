//! Which files there are: their names say with which record they begin.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::{StoreError, schema};

/// A file of records; those of one file are all older than those of the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordFile {
    pub(super) path: PathBuf,
    /// No record has a smaller number.
    pub(super) first: u64,
    /// The greatest number that is in use.
    pub(super) last: u64,
    /// By how many milliseconds numbers are ahead of the times of their records.
    pub(super) skew: u64,
    pub(super) records: u64,
}

impl RecordFile {
    /// A time that its newest record is not before, in milliseconds.
    pub(super) fn reaches(&self) -> u64 {
        (self.last >> TIME_SHIFT).saturating_sub(self.skew)
    }

    /// The number of the next record: newer ones have greater numbers, whatever the
    /// clock does.
    pub(super) fn next_id(&mut self, time: u64) -> u64 {
        let id = (time << TIME_SHIFT).max(self.last + 1);
        self.last = id;
        self.skew = self.skew.max((id >> TIME_SHIFT).saturating_sub(time));
        id
    }
}

/// The number of a record begins with its time, in milliseconds.
pub(super) const TIME_SHIFT: u32 = 16;

/// A day, in milliseconds.
pub(super) const DAY: u64 = 86_400_000;

const PREFIX: &str = "record-";
const SUFFIX: &str = ".sqlite";

/// The file that begins with a record.
pub(super) fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{first:016x}{SUFFIX}"))
}

/// Makes the folder, which is nobody else's to read.
pub(super) fn make_folder(folder: &Path) -> Result<(), StoreError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| StoreError::of(folder, error))
}

/// The files of a folder, the oldest first, and what is wrong with others. A file that
/// is no longer one of SQLite's is put aside.
pub(super) fn list(folder: &Path) -> Result<(Vec<RecordFile>, Vec<StoreError>), StoreError> {
    let wrong = |error: io::Error| StoreError::of(folder, error);
    let mut files = Vec::new();
    let mut errors = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let Some(first) = first_of(&path) else { continue };
        match look_into(&path, first) {
            Ok(file) => files.push(file),
            Err(error) => {
                if error.is_damage() {
                    put_aside(&path);
                }
                errors.push(error);
            }
        }
    }
    files.sort_by_key(|file| file.first);
    Ok((files, errors))
}

fn first_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    u64::from_str_radix(name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?, 16).ok()
}

fn look_into(path: &Path, first: u64) -> Result<RecordFile, StoreError> {
    let connection = schema::open(path)?;
    let number = |sql: &str| {
        let number = connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        number.map(|number| u64::try_from(number).unwrap_or(0))
    };
    let ask = || -> rusqlite::Result<RecordFile> {
        Ok(RecordFile {
            path: path.to_owned(),
            first,
            last: number("SELECT coalesce(max(id), 0) FROM record")?
                .max(number("SELECT coalesce(max(id), 0) FROM change")?)
                .max(first),
            skew: number("SELECT value FROM meta WHERE key = 'skew'")?,
            records: number("SELECT coalesce(sum(records), 0) FROM minute")?,
        })
    };
    ask().map_err(|error| StoreError::sqlite(path, &error))
}

/// Renames a file that cannot be used, so that its name is free and it is kept.
pub(super) fn put_aside(path: &Path) {
    for name in with_companions(path) {
        let mut aside = name.clone().into_os_string();
        aside.push(".damaged");
        if let Err(error) = fs::rename(&name, aside)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!("{}: {error}", name.display());
        }
    }
}

/// Removes a file.
pub(super) fn remove(path: &Path) {
    for name in with_companions(path) {
        if let Err(error) = fs::remove_file(&name)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!("{}: {error}", name.display());
        }
    }
}

/// Removes all files of a folder, and the folder if nothing else is in it.
pub(super) fn remove_all(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if first_of(&path).is_some() {
            remove(&path);
        }
    }
    // Not if there is anything else in it.
    _ = fs::remove_dir(folder);
}

/// The bytes that a file takes.
pub(super) fn bytes(path: &Path) -> u64 {
    with_companions(path).iter().map(|name| fs::metadata(name).map_or(0, |file| file.len())).sum()
}

/// A file, and what SQLite keeps beside it (<https://sqlite.org/tempfiles.html>).
fn with_companions(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    })
}
