//! Which files there are: their names say with which record they begin.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rusqlite::{Connection, Row};

use super::failure::failure;
use super::schema;
use crate::io::state;
use crate::record::Change;
use crate::store::traits::StoreError;

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
    /// Why it cannot be read; none where it can.
    pub(super) broken: Option<Broken>,
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It was damaged, and bears another name now. It counts and goes as others do.
    Aside(String),
    /// It cannot be read for now; it is tried again.
    Unreadable(String),
}

impl RecordFile {
    /// Whether a damaged file was put aside.
    pub(super) const fn is_aside(&self) -> bool {
        matches!(self.broken, Some(Broken::Aside(_)))
    }

    /// What is missing where it cannot be read, for people; none where it can.
    pub(super) fn missing(&self) -> Option<String> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        Some(match self.broken.as_ref()? {
            Broken::Aside(why) => format!("{name} is damaged and was put aside ({why})"),
            Broken::Unreadable(why) => format!("{name} cannot be read ({why})"),
        })
    }

    /// A time that its newest record is not before, in milliseconds.
    pub(super) fn reaches(&self) -> u64 {
        (self.last >> TIME_SHIFT).saturating_sub(self.skew)
    }

    /// The number of the next record: newer ones have greater numbers, whatever the
    /// clock does.
    pub(super) fn next_id(&mut self, time: u64) -> u64 {
        let id = number_at(time).max(self.last.saturating_add(1));
        self.last = id;
        self.skew = self.skew.max((id >> TIME_SHIFT).saturating_sub(time));
        id
    }
}

/// The number of a record begins with its time, in milliseconds.
pub(super) const TIME_SHIFT: u32 = 16;

/// The least number of a time; times that no clock shows are all alike.
pub(super) fn number_at(milliseconds: u64) -> u64 {
    milliseconds.min(u64::MAX >> TIME_SHIFT) << TIME_SHIFT
}

/// A day, in milliseconds.
pub(super) const DAY: u64 = 86_400_000;

const PREFIX: &str = "record-";
const SUFFIX: &str = ".sqlite";

/// The end of the name of a file that was put aside.
const ASIDE: &str = ".damaged";

/// The file that begins with a record.
pub(super) fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{first:016x}{SUFFIX}"))
}

/// Makes the folder, which is nobody else's to read.
pub(super) fn make_folder(folder: &Path) -> Result<(), StoreError> {
    state::make_folder(folder).map_err(|error| StoreError::of(folder, error))
}

/// The files of a folder, the oldest first. One that is no longer a file of SQLite's is put
/// aside; one that cannot be read is there as such.
pub(super) fn list(folder: &Path, now: u64) -> Result<Vec<RecordFile>, StoreError> {
    let wrong = |error: io::Error| StoreError::of(folder, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        rename_companion(&path);
        if let Some(first) = first_of(&path) {
            found.push((first, path, false));
        } else if let Some(first) = first_of_aside(&path) {
            found.push((first, path, true));
        }
    }
    found.sort();
    let mut files = Vec::new();
    for (index, (first, path, is_aside)) in found.iter().enumerate() {
        // Until when its records went, as far as that can be known.
        let until = found.get(index + 1).map(|(next, ..)| next.saturating_sub(1));
        let until = until.unwrap_or_else(|| number_at(modified(path).min(now))).max(*first);
        if *is_aside {
            let why = "before this start".to_owned();
            files.push(broken(path, *first, until, Broken::Aside(why)));
            continue;
        }
        let is_newest = index + 1 == found.len();
        files.push(match look_into(path, *first, is_newest) {
            Ok(file) => file,
            Err(error) => {
                tracing::error!("{error}");
                give_up(path, *first, until, &error)
            }
        });
    }
    Ok(files)
}

/// A file that cannot be read; put aside if it is damaged.
fn give_up(path: &Path, first: u64, until: u64, error: &StoreError) -> RecordFile {
    if !error.is_damage() {
        return broken(path, first, until, Broken::Unreadable(error.reason()));
    }
    let aside = put_aside(path);
    broken(&aside, first, until, Broken::Aside(error.reason()))
}

fn broken(path: &Path, first: u64, last: u64, why: Broken) -> RecordFile {
    RecordFile { path: path.to_owned(), first, last, skew: 0, records: 0, broken: Some(why) }
}

fn modified(path: &Path) -> u64 {
    let time = fs::metadata(path).and_then(|file| file.modified()).ok();
    let time = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    time.and_then(|time| u64::try_from(time.as_millis()).ok()).unwrap_or(0)
}

fn first_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    u64::from_str_radix(name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?, 16).ok()
}

/// The number with which a file begins that was put aside.
fn first_of_aside(path: &Path) -> Option<u64> {
    let name = path.to_str()?.strip_suffix(ASIDE)?;
    first_of(Path::new(name))
}

/// Renames what former versions left beside a file that they put aside.
fn rename_companion(path: &Path) {
    let Some(name) = path.to_str() else { return };
    for end in ["-wal", "-shm"] {
        if let Some(file) = name.strip_suffix(ASIDE).and_then(|name| name.strip_suffix(end))
            && first_of(Path::new(file)).is_some()
        {
            // It stays where it is then, and does no harm.
            _ = fs::rename(path, format!("{file}{ASIDE}{end}"));
        }
    }
}

/// Reads what is known of a file. Only the newest may be empty: it was just begun.
pub(super) fn look_into(
    path: &Path,
    first: u64,
    is_newest: bool,
) -> Result<RecordFile, StoreError> {
    let size = fs::metadata(path).map_err(|error| StoreError::of(path, error))?.len();
    if size == 0 && !is_newest {
        return Err(StoreError::damaged(path, "it is empty"));
    }
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
            broken: None,
        })
    };
    ask().map_err(|error| failure(path, &error))
}

/// The changes that former versions kept among the records, the oldest first. What cannot be
/// read is left out, with a line of log.
pub(super) fn old_changes(files: &[RecordFile]) -> Vec<Change> {
    let mut changes = Vec::new();
    for file in files.iter().filter(|file| file.broken.is_none()) {
        let read = || -> rusqlite::Result<Vec<Change>> {
            let connection = Connection::open(&file.path)?;
            let select = "SELECT time, who, what, outcome FROM change ORDER BY id";
            let mut select = connection.prepare(select)?;
            select.query_map([], read_change)?.collect()
        };
        match read() {
            Ok(found) => changes.extend(found),
            Err(error) => tracing::error!("{}: {error}", file.path.display()),
        }
    }
    changes
}

/// Reads a change of `SELECT time, who, what, outcome`.
fn read_change(row: &Row<'_>) -> rusqlite::Result<Change> {
    Ok(Change {
        time: schema::number(row, 0)?,
        who: row.get(1)?,
        what: row.get(2)?,
        outcome: row.get(3)?,
    })
}

/// Renames a file that is damaged, so that its name is free and it is kept; says its name.
pub(super) fn put_aside(path: &Path) -> PathBuf {
    let mut aside = path.as_os_str().to_owned();
    aside.push(ASIDE);
    let aside = PathBuf::from(aside);
    for (name, aside) in with_companions(path).iter().zip(with_companions(&aside)) {
        if let Err(error) = fs::rename(name, aside)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::error!("{}: {error}", name.display());
        }
    }
    if let Some(folder) = path.parent()
        && let Err(error) = state::sync_folder(folder)
    {
        tracing::error!("{}: {error}", folder.display());
    }
    aside
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

/// Removes all files of a folder that hold records.
pub(super) fn remove_all(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if first_of(&path).is_some() || first_of_aside(&path).is_some() {
            remove(&path);
        }
    }
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
