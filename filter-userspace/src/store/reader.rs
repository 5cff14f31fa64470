//! Searches: file after file, from the newest on, until a page is full.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lru::LruCache;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _};

use super::files::{RecordFile, TIME_SHIFT};
use super::{StoreError, schema};
use crate::record::{Change, Page, Query, Stored, terms};

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
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// A page that is being filled.
struct Filling<'a> {
    query: &'a Query,
    records: Vec<Stored>,
    looks: usize,
    /// The last record that was looked at.
    place: u64,
}

impl Filling<'_> {
    /// Takes a record if it is meant; says whether to go on.
    fn take(&mut self, stored: Stored) -> bool {
        let is_meant = self.query.matches(&stored.record);
        if is_meant && self.records.len() >= self.query.limit {
            // It begins the next page.
            return false;
        }
        self.place = stored.id;
        self.looks += 1;
        if is_meant {
            self.records.push(stored);
        }
        self.looks < LOOKS
    }
}

impl Reader {
    pub(super) fn new(patience: Duration) -> Self {
        Self { open: LruCache::new(OPEN_FILES), patience, deadline: Instant::now() }
    }

    /// Begins a look: what it opens from here on ends with it.
    pub(super) fn begin(&mut self) {
        self.deadline = Instant::now() + self.patience;
    }

    /// The newest records of a query.
    pub(super) fn search(
        &mut self,
        files: &[RecordFile],
        query: &Query,
    ) -> Result<Page, StoreError> {
        let found_by = expression(query);
        let mut page = Filling { query, records: Vec::new(), looks: 0, place: 0 };
        for file in files.iter().rev() {
            let Some((from, to)) = bounds(file, query) else { continue };
            let connection = self.open(file)?;
            let (from, to) = (signed(from), signed(to));
            let searched = match &found_by {
                Some(expression) => find(connection, expression, from, to, &mut page),
                None => scan(connection, from, to, &mut page),
            };
            match searched {
                Ok(true) => {}
                Ok(false) => {
                    let partial = page.records.len() < query.limit;
                    return Ok(Page { next: Some(page.place), records: page.records, partial });
                }
                Err(error) => return Err(self.failure(file, &error)),
            }
        }
        Ok(Page { records: page.records, next: None, partial: false })
    }

    /// The newest changes.
    pub(super) fn changes(
        &mut self,
        files: &[RecordFile],
        limit: usize,
    ) -> Result<Vec<Change>, StoreError> {
        let mut changes = Vec::new();
        for file in files.iter().rev() {
            let missing = i64::try_from(limit - changes.len()).unwrap_or(i64::MAX);
            let connection = self.open(file)?;
            let read = || -> rusqlite::Result<Vec<Change>> {
                let select = "SELECT time, who, what, outcome FROM change ORDER BY id DESC LIMIT ?";
                connection
                    .prepare_cached(select)?
                    .query_map([missing], schema::read_change)?
                    .collect()
            };
            let read = read();
            changes.extend(read.map_err(|error| self.failure(file, &error))?);
            if changes.len() >= limit {
                break;
            }
        }
        Ok(changes)
    }

    pub(super) fn open(&mut self, file: &RecordFile) -> Result<&mut Connection, StoreError> {
        let deadline = self.deadline;
        let open = || schema::open_to_read(&file.path);
        let connection = self.open.try_get_or_insert_mut_ref(&file.path, open)?;
        // Connections stay open between looks, each of which has a time of its own.
        connection
            .progress_handler(CLOCK, Some(move || Instant::now() >= deadline))
            .map_err(|error| StoreError::sqlite(&file.path, &error))?;
        Ok(connection)
    }

    pub(super) fn failure(&self, file: &RecordFile, error: &rusqlite::Error) -> StoreError {
        if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) {
            return StoreError::TooLong(self.patience);
        }
        StoreError::sqlite(&file.path, error)
    }
}

/// The numbers of a file that may hold what is wanted; none where it holds nothing.
pub(super) fn bounds(file: &RecordFile, query: &Query) -> Option<(u64, u64)> {
    let from = query.since.map_or(0, |since| since << TIME_SHIFT);
    // Numbers may be ahead of the times of their records.
    let until = query.until.map(|until| until.saturating_add(file.skew) << TIME_SHIFT);
    let before = [query.before, until].into_iter().flatten().min();
    let to = before.map_or(file.last, |before| file.last.min(before.saturating_sub(1)));
    let from = from.max(file.first).max(query.after.map_or(0, |after| after + 1));
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
    let mut one = connection.prepare_cached(schema::ONE)?;
    let mut found = find.query((expression, from, to))?;
    while let Some(row) = found.next()? {
        let id: i64 = row.get(0)?;
        let record = one.query_row([id], schema::read).optional()?;
        if let Some(record) = record
            && !page.take(record)
        {
            return Ok(false);
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
    let mut scan = connection.prepare_cached(schema::SCAN)?;
    let mut rows = scan.query((from, to))?;
    while let Some(row) = rows.next()? {
        if !page.take(schema::read(row)?) {
            return Ok(false);
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

fn signed(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}
