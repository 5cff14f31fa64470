//! The mail log in SQLite files: a queue in front of the writer, and readers for searches.
//!
//! A file holds a day, [`Options::file_rows`] entries or an eighth of [`Options::bytes`],
//! whichever is least, so that old entries are removed with their file, and no vacuum is
//! ever needed. [`writer`] fills the newest file, [`reader`] searches them from the newest
//! on, [`files`] knows which there are, [`shared`] is what the threads share. What
//! operators change is kept apart ([`super::audit`]), so that no traffic evicts it.

mod failure;
mod files;
mod reader;
mod schema;
mod shared;
mod summary;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::files::RecordFile;
use self::reader::Reader;
use self::shared::{Job, Shared};
use self::writer::Writer;
use super::audit::Audit;
use super::entry::Entry;
use super::options::Options;
use super::traits::{Archive, Health, Sink, StoreError};
use crate::io::weighed::{self, Sender};
use crate::record::{Changes, Page, Query, Record, Summary};

/// Removes the files of a folder that hold records.
pub(super) fn remove(folder: &Path) {
    files::remove_all(folder);
}

/// Records in SQLite files.
#[derive(Debug)]
pub(super) struct SqliteStore {
    shared: Arc<Shared>,
    audit: Audit,
    queue: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    patience: Duration,
    steady: fn() -> u64,
}

impl SqliteStore {
    /// Looks into the folder and starts the writer; what is wrong with the folder is
    /// said by [`Sink::health`], and tried again every second.
    #[must_use]
    pub(super) fn start(options: Options) -> Self {
        let (queue, jobs) = weighed::queue(options.queue, options.queue_bytes);
        let shared = Arc::new(Shared::default());
        let (patience, steady) = (options.patience, options.steady);
        let (folder, bytes, clock) = (options.folder.clone(), options.audit_bytes, options.clock);
        let mut writer = Writer::new(options, shared.clone());
        // What is there is found by the first search.
        writer.take(&[]);
        let thread = Some(thread::spawn(move || writer.run(&jobs)));
        let files = shared.files();
        // Former versions kept changes among the records.
        let audit = Audit::start(&folder, bytes, clock, || files::old_changes(&files));
        Self { shared, audit, queue: Some(queue), thread, patience, steady }
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&mut Reader, &[RecordFile]) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (idle, gone) = self.shared.lend();
        let mut reader = idle.unwrap_or_else(|| Reader::new(self.patience));
        reader.begin();
        let files = self.shared.files();
        let result = read(&mut reader, &files);
        for (first, error) in reader.failures() {
            self.shared.give_up(first, &error);
        }
        // After a failure its connections are not trusted any more.
        if result.is_ok() {
            self.shared.take_back(reader, gone);
        }
        result
    }
}

impl Sink for SqliteStore {
    fn add(&self, entry: Entry) -> Option<Record> {
        if let Entry::Change(change) = entry {
            self.audit.add(change);
            return None;
        }
        let queue = self.queue.as_ref()?;
        let weight = entry.weight();
        // While nothing can be written, to fold would hide that entries are lost.
        let owner = match &entry {
            Entry::Record(record) if !self.shared.is_failing() => record.owner(),
            _ => None,
        };
        match queue.try_send(Job::Entry(entry), weight, owner) {
            Err(Job::Entry(Entry::Record(record))) if owner.is_some() => Some(*record),
            Err(_) => {
                self.shared.losses.add(1, (self.steady)());
                None
            }
            Ok(()) => None,
        }
    }

    fn flush(&self, patience: Duration) -> bool {
        let Some(queue) = &self.queue else { return false };
        let start = Instant::now();
        if !self.audit.flush(patience) {
            return false;
        }
        let patience = patience.saturating_sub(start.elapsed());
        let (sender, done) = sync_channel(1);
        // Behind a full queue there is nothing to wait for.
        queue.try_send(Job::Flush(sender), 0, None).is_ok() && done.recv_timeout(patience).is_ok()
    }

    fn health(&self) -> Health {
        let (lost, is_losing) = self.shared.losses.so_far((self.steady)());
        let (audit_error, audit_lost) = self.audit.health();
        let files = self.shared.files();
        Health {
            error: self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            lost,
            is_losing,
            written: self.shared.written.load(Ordering::Relaxed),
            records: files.iter().map(|file| file.records).sum(),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
            unreadable: files.iter().filter_map(RecordFile::missing).collect(),
            audit_error,
            audit_damaged: self.audit.damaged(),
            audit_lost,
            others: Vec::new(),
        }
    }
}

impl Archive for SqliteStore {
    fn search(&self, query: &Query) -> Result<Page, StoreError> {
        // A file is removed when all of it is too old; its old part is not shown.
        let oldest = self.shared.oldest_kept.load(Ordering::Relaxed);
        let since = Some(query.since.map_or(oldest, |since| since.max(oldest)));
        let query = Query { since, ..query.clone() };
        self.read(|reader, files| reader.search(files, &query))
    }

    fn changes(&self, limit: usize) -> Result<Changes, StoreError> {
        self.audit.newest(limit)
    }

    fn summary(&self, since: u64, until: u64) -> Result<Summary, StoreError> {
        self.read(|reader, files| reader.summary(files, Summary::of(since, until)))
    }
}

impl Drop for SqliteStore {
    /// Writes what waits, if it can be written.
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has said so.
            _ = thread.join();
        }
    }
}
