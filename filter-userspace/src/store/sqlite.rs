//! The store itself: a queue in front of the writer, and readers for searches.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::audit::Audit;
use super::files::{self, Broken, RecordFile};
use super::reader::Reader;
use super::writer::Writer;
use super::{Entry, Health, LATELY, Options, Store, StoreError, schema};
use crate::io::weighed::{self, Sender};
use crate::record::{Changes, Page, Query, Record, Summary};

/// The readers that are kept between searches.
const READERS: usize = 4;

/// Records in SQLite files.
#[derive(Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
    audit: Audit,
    queue: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    patience: Duration,
    steady: fn() -> u64,
}

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Job {
    Entry(Entry),
    /// To say when what came before is written.
    Flush(SyncSender<()>),
}

/// What the writer tells.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The oldest first.
    files: RwLock<Vec<RecordFile>>,
    /// Whether the folder was looked at.
    pub(super) is_known: AtomicBool,
    pub(super) ending: AtomicBool,
    lost: AtomicU64,
    /// When the last was lost, by the steady clock.
    lost_at: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// From when on records are kept: milliseconds of the Unix epoch.
    pub(super) oldest_kept: AtomicU64,
    error: Mutex<Option<String>>,
    readers: Mutex<Pool>,
}

/// The readers that nobody searches with.
#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Reader>,
    /// How often a file went. A reader that was lent before may have it open, and with it
    /// the blocks that the file took: it is not taken back.
    gone: u64,
}

impl SqliteStore {
    /// Looks into the folder and starts the writer; what is wrong with the folder is
    /// said by [`Store::health`], and tried again every second.
    #[must_use]
    pub fn start(options: Options) -> Self {
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
        let audit = Audit::start(&folder, bytes, clock, || schema::old_changes(&files));
        Self { shared, audit, queue: Some(queue), thread, patience, steady }
    }

    pub(super) fn read<T>(
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

impl Store for SqliteStore {
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
                self.shared.lose(1, (self.steady)());
                None
            }
            Ok(()) => None,
        }
    }

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

    fn health(&self) -> Health {
        let lost = self.shared.lost.load(Ordering::Acquire);
        let lost_at = self.shared.lost_at.load(Ordering::Relaxed);
        let since = Duration::from_nanos((self.steady)().saturating_sub(lost_at));
        let (audit_error, audit_lost) = self.audit.health();
        let files = self.shared.files();
        Health {
            error: self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            lost,
            is_losing: lost > 0 && since < LATELY,
            written: self.shared.written.load(Ordering::Relaxed),
            records: files.iter().map(|file| file.records).sum(),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
            unreadable: files.iter().filter_map(RecordFile::missing).collect(),
            audit_error,
            audit_damaged: self.audit.damaged(),
            audit_lost,
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

impl Shared {
    pub(super) fn files(&self) -> Vec<RecordFile> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts entries that find no room, at a time of the steady clock.
    pub(super) fn lose(&self, entries: usize, steady: u64) {
        self.lost_at.store(steady, Ordering::Relaxed);
        // Whoever sees the number sees the time.
        self.lost.fetch_add(entries as u64, Ordering::Release);
    }

    pub(super) fn newest(&self) -> Option<RecordFile> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).last().cloned()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<RecordFile>)) {
        change(&mut self.files.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn know(&self, found: Vec<RecordFile>) {
        self.change(|files| *files = found);
        self.is_known.store(true, Ordering::Release);
    }

    pub(super) fn push(&self, file: RecordFile) {
        self.change(|files| files.push(file));
    }

    /// A file cannot be read: if it is damaged it is put aside, at once and once.
    pub(super) fn give_up(&self, first: u64, error: &StoreError) {
        self.change(|files| {
            let is_newest = files.last().is_some_and(|newest| newest.first == first);
            let Some(file) = files.iter_mut().find(|file| file.first == first) else { return };
            if file.is_aside() {
                return;
            }
            if error.is_damage() {
                tracing::error!("{error}; it is put aside");
                file.path = files::put_aside(&file.path);
                file.records = 0;
                file.broken = Some(Broken::Aside(error.reason()));
            } else if !is_newest && file.broken.is_none() {
                // What keeps a search from the file that is written may pass.
                tracing::error!("{error}");
                file.broken = Some(Broken::Unreadable(error.reason()));
            }
        });
        self.close_readers();
    }

    /// Looks again at the files that could not be read, and forgets those that an operator
    /// removed.
    pub(super) fn look_again(&self) {
        // Where the newest is gone too, it is the disk that is gone for a while.
        let is_here = self.newest().is_some_and(|newest| newest.path.exists());
        let broken = self.files().into_iter().filter(|file| file.broken.is_some());
        for old in broken {
            if is_here && matches!(old.path.try_exists(), Ok(false)) {
                tracing::info!("{} was removed", old.path.display());
                self.change(|files| files.retain(|file| file.first != old.first));
                continue;
            }
            if old.is_aside() {
                continue;
            }
            match files::look_into(&old.path, old.first, false) {
                Ok(new) => {
                    tracing::info!("{} can be read again", old.path.display());
                    self.change(|files| {
                        if let Some(file) = files.iter_mut().find(|file| file.first == old.first) {
                            *file = new;
                        }
                    });
                }
                Err(error) if error.is_damage() => self.give_up(old.first, &error),
                Err(_) => {}
            }
        }
    }

    pub(super) fn remove_oldest(&self) {
        self.change(|files| _ = files.remove(0));
        self.close_readers();
    }

    fn readers(&self) -> MutexGuard<'_, Pool> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader, if one is idle, and what to say when it is given back.
    fn lend(&self) -> (Option<Reader>, u64) {
        let mut readers = self.readers();
        (readers.idle.pop(), readers.gone)
    }

    fn take_back(&self, reader: Reader, gone: u64) {
        let mut readers = self.readers();
        if readers.gone == gone && readers.idle.len() < READERS {
            readers.idle.push(reader);
        }
    }

    /// A file is no longer among those that are known: nobody keeps it open but those
    /// who search it just now.
    fn close_readers(&self) {
        let mut readers = self.readers();
        readers.gone += 1;
        let idle = mem::take(&mut readers.idle);
        // Searches need not wait until all files are closed.
        drop(readers);
        drop(idle);
    }

    /// Says how the newest file is now, and whether it still is one: it may have been found
    /// damaged, and put aside, meanwhile.
    pub(super) fn replace_newest(&self, file: RecordFile) -> bool {
        let mut is_kept = false;
        self.change(|files| {
            if let Some(newest) = files.last_mut()
                && newest.first == file.first
                && !newest.is_aside()
            {
                *newest = file;
                is_kept = true;
            }
        });
        is_kept
    }

    /// Whether the last batch could not be written.
    fn is_failing(&self) -> bool {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn set_error(&self, error: Option<String>) {
        let mut known = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != error {
            match &error {
                Some(error) => tracing::error!("records cannot be written: {error}"),
                None => tracing::info!("records are written again"),
            }
            *known = error;
        }
    }
}
