//! Searches: file after file, from the newest on, until a page is full.

use std::fmt;
use std::mem;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lru::LruCache;
use rusqlite::{Connection, OptionalExtension as _};

use super::failure::{failure, failure_unless_late};
use super::files::{RecordFile, number_at};
use super::schema;
use crate::record::{Page, Query, Stored, terms};
use crate::store::traits::StoreError;

/// The records that one search may look at before it gives the page that it has.
const LOOKS: usize = 100_000;

/// The files that stay open between searches.
const OPEN_FILES: NonZeroUsize = NonZeroUsize::new(128).expect("not zero");

/// The instructions of SQLite's machine after which it looks at the clock.
const CLOCK: i32 = 10_000;

pub(super) struct Reader {
    open: LruCache<PathBuf, Connection>,
    /// How long one look may take, whatever is looked for.
    patience: Duration,
    /// When the one that is going on must be over.
    deadline: Instant,
    /// The files that could not be read in it, by their first numbers.
    failures: Vec<(u64, StoreError)>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// The bytes after which a page is full, whatever its limit: a console's client may be slow to
/// read it, and others have one too.
const PAGE_BYTES: u64 = 2 << 20;

/// A page that is being filled.
struct Filling<'a> {
    query: &'a Query,
    records: Vec<Stored>,
    /// The bytes that they take.
    bytes: u64,
    looks: usize,
    /// The last record that was looked at.
    place: u64,
    /// The records of the file that cannot be read.
    damaged: u64,
}

impl Filling<'_> {
    /// Takes a record if it is meant; says whether to go on.
    fn take(&mut self, stored: Stored) -> bool {
        let is_meant = self.query.matches(&stored.record);
        let bytes = self.bytes.saturating_add(stored.record.weight());
        let is_full = self.records.len() >= self.query.limit || bytes > PAGE_BYTES;
        if is_meant && is_full && !self.records.is_empty() {
            // It begins the next page.
            return false;
        }
        self.place = stored.id;
        self.looks += 1;
        if is_meant {
            self.bytes = bytes;
            self.records.push(stored);
        }
        self.looks < LOOKS
    }
}

impl Filling<'_> {
    /// Passes over a record that holds what mxdp never wrote; an error of the file is one.
    fn skip(&mut self, error: rusqlite::Error) -> rusqlite::Result<()> {
        if error.sqlite_error_code().is_some() {
            return Err(error);
        }
        self.damaged += 1;
        Ok(())
    }
}

impl Reader {
    pub(super) fn new(patience: Duration) -> Self {
        let (open, failures) = (LruCache::new(OPEN_FILES), Vec::new());
        Self { open, patience, deadline: Instant::now(), failures }
    }

    /// Begins a look: what it opens from here on ends with it.
    pub(super) fn begin(&mut self) {
        self.deadline = Instant::now() + self.patience;
    }

    /// The files that could not be read since the look began.
    pub(super) fn failures(&mut self) -> Vec<(u64, StoreError)> {
        mem::take(&mut self.failures)
    }

    /// The newest records of a query. Files that cannot be read are skipped, and named.
    pub(super) fn search(
        &mut self,
        files: &[RecordFile],
        query: &Query,
    ) -> Result<Page, StoreError> {
        let found_by = expression(query);
        let mut page =
            Filling { query, records: Vec::new(), bytes: 0, looks: 0, place: 0, damaged: 0 };
        // What is known to be missing is said of the whole search, so that it is said at its
        // beginning.
        let within = files.iter().filter(|file| bounds(file, query).is_some());
        let mut skipped: Vec<_> = within.filter_map(RecordFile::missing).collect();
        for file in files.iter().rev().filter(|file| !file.is_aside()) {
            let Some((from, to)) = bounds(file, query) else { continue };
            let (from, to) = (schema::signed(from), schema::signed(to));
            let searched = self.within(file, |connection| match &found_by {
                Some(expression) => find(connection, expression, from, to, &mut page),
                None => scan(connection, from, to, &mut page),
            })?;
            let damaged = mem::take(&mut page.damaged);
            if damaged > 0 {
                let name = file.path.display();
                skipped.push(format!("{name}: {damaged} damaged entries"));
            }
            match searched {
                Ok(true) => {}
                Ok(false) => {
                    let partial = page.records.len() < query.limit || !skipped.is_empty();
                    let next = Some(page.place);
                    return Ok(Page { next, records: page.records, partial, skipped });
                }
                Err(missing) if file.broken.is_none() => skipped.push(missing),
                Err(_) => {}
            }
        }
        let partial = !skipped.is_empty();
        Ok(Page { records: page.records, next: None, partial, skipped })
    }

    /// Reads from a file; where it cannot be read, says what is missing.
    ///
    /// # Errors
    ///
    /// Only if it takes too long.
    pub(super) fn within<T>(
        &mut self,
        file: &RecordFile,
        read: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<Result<T, String>, StoreError> {
        let read = match self.open(file) {
            Ok(connection) => {
                read(connection).map_err(|error| failure_unless_late(&file.path, &error))
            }
            Err(error) => Err(Some(error)),
        };
        match read {
            Ok(value) => Ok(Ok(value)),
            Err(None) => Err(StoreError::TooLong(self.patience)),
            Err(Some(error)) => {
                self.open.pop(&file.path);
                let name = file.path.file_name().unwrap_or_default().to_string_lossy();
                let missing = format!("{name} cannot be read ({})", error.reason());
                self.failures.push((file.first, error));
                Ok(Err(missing))
            }
        }
    }

    pub(super) fn open(&mut self, file: &RecordFile) -> Result<&mut Connection, StoreError> {
        let deadline = self.deadline;
        let open = || schema::open_to_read(&file.path);
        let connection = self.open.try_get_or_insert_mut_ref(&file.path, open)?;
        // Connections stay open between looks, each of which has a time of its own.
        connection
            .progress_handler(CLOCK, Some(move || Instant::now() >= deadline))
            .map_err(|error| failure(&file.path, &error))?;
        Ok(connection)
    }
}

/// The numbers of a file that may hold what is wanted; none where it holds nothing.
pub(super) fn bounds(file: &RecordFile, query: &Query) -> Option<(u64, u64)> {
    let from = query.since.map_or(0, number_at);
    // Numbers may be ahead of the times of their records.
    let until = query.until.map(|until| number_at(until.saturating_add(file.skew)));
    let before = [query.before, until].into_iter().flatten().min();
    let to = before.map_or(file.last, |before| file.last.min(before.saturating_sub(1)));
    // Nothing is newer than the greatest number.
    let after = query.after.map_or(Some(0), |after| after.checked_add(1))?;
    let from = from.max(file.first).max(after);
    (from <= to).then_some((from, to))
}

fn find(
    connection: &Connection,
    expression: &str,
    from: i64,
    to: i64,
    page: &mut Filling<'_>,
) -> rusqlite::Result<bool> {
    let mut find = connection.prepare_cached(schema::FIND)?;
    let mut one = connection.prepare_cached(&schema::ONE)?;
    let mut found = find.query((expression, from, to))?;
    while let Some(row) = found.next()? {
        let id: i64 = row.get(0)?;
        match one.query_row([id], schema::read).optional() {
            Ok(Some(record)) => {
                if !page.take(record) {
                    return Ok(false);
                }
            }
            Ok(None) => {}
            Err(error) => page.skip(error)?,
        }
    }
    Ok(true)
}

fn scan(
    connection: &Connection,
    from: i64,
    to: i64,
    page: &mut Filling<'_>,
) -> rusqlite::Result<bool> {
    let mut scan = connection.prepare_cached(&schema::SCAN)?;
    let mut rows = scan.query((from, to))?;
    while let Some(row) = rows.next()? {
        match schema::read(row) {
            Ok(record) => {
                if !page.take(record) {
                    return Ok(false);
                }
            }
            Err(error) => page.skip(error)?,
        }
    }
    Ok(true)
}

/// What the index is asked, in the language of FTS5; none where it cannot help.
fn expression(query: &Query) -> Option<String> {
    let groups = terms::required(query);
    let mut text = String::new();
    for (index, group) in groups.iter().enumerate() {
        text.push_str(if index == 0 { "(" } else { " AND (" });
        for (index, term) in group.iter().enumerate() {
            text.push_str(if index == 0 { "\"" } else { " OR \"" });
            term.write(&mut text);
            text.push('"');
        }
        text.push(')');
    }
    (!groups.is_empty()).then_some(text)
}
