//! The thread that writes: entries in batches, each one transaction.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::failure::failure;
use super::files::{self, Broken, DAY, RecordFile, TIME_SHIFT};
use super::schema;
use super::shared::{Job, Shared};
use crate::io::clock::Settled;
use crate::io::weighed::Receiver;
use crate::record::{Direction, Reason, Record, Status};
use crate::store::entry::Entry;
use crate::store::options::Options;
use crate::store::traits::StoreError;

/// How long entries wait for others to be written with.
const GATHER: Duration = Duration::from_millis(200);

/// The most entries of one transaction.
const BATCH: usize = 8_192;

/// The bytes after which no more are gathered for it.
const BATCH_BYTES: u64 = 8 << 20;

/// How long it waits after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// How often old files are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// The newest file is never removed: it takes records up to this part of all bytes.
const SHARE: u64 = 8;

/// The sources of dropped SYNs that may share a record within a minute.
const FOLDED: usize = 65_536;

pub(super) struct Writer {
    options: Options,
    shared: Arc<Shared>,
    /// The newest file, while it is open.
    open: Option<Connection>,
    /// Whether it has its share of the bytes.
    is_full: bool,
    /// The number of the newest record.
    last: u64,
    folded: Folded,
    /// When that was, by the steady clock.
    kept_house: Option<u64>,
    /// The time by which files are too old.
    time: Option<Settled>,
}

/// The records of the minute that count dropped SYNs, or attempts that are folded.
#[derive(Default)]
struct Folded {
    minute: u64,
    records: HashMap<Alike, u64>,
}

/// What records have in common that are counted by one: client, direction, status, reason,
/// session and customer.
type Alike = (IpAddr, Direction, Status, Reason, Option<String>, Option<String>);

impl Writer {
    pub(super) fn new(options: Options, shared: Arc<Shared>) -> Self {
        let folded = Folded::default();
        let (open, is_full, kept_house, time) = (None, false, None, None);
        Self { options, shared, open, is_full, last: 0, folded, kept_house, time }
    }

    /// Takes jobs until nobody can send any.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut batch = Vec::new();
        let mut waiting = Vec::new();
        loop {
            let ended = !gather(jobs, &mut batch, &mut waiting);
            while !self.take(&batch) {
                if ended || self.shared.ending.load(Ordering::Acquire) {
                    self.shared.losses.add(batch.len(), (self.options.steady)());
                    break;
                }
                // Meanwhile the queue fills, and what finds no room is counted.
                thread::sleep(PAUSE);
            }
            batch.clear();
            for sender in waiting.drain(..) {
                // Whoever asked may have gone.
                _ = sender.send(());
            }
            if ended {
                return;
            }
        }
    }

    /// Writes a batch, whole or not at all, and says whether it did.
    pub(super) fn take(&mut self, batch: &[Entry]) -> bool {
        let result = self.keep_house().and_then(|()| self.write(batch));
        let error = match &result {
            Ok(()) => None,
            Err(error) => {
                self.give_up_file(error);
                Some(error.to_string())
            }
        };
        self.shared.set_error(error);
        if result.is_ok() {
            self.shared.written.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
        result.is_ok()
    }

    fn write(&mut self, batch: &[Entry]) -> Result<(), StoreError> {
        let Some(first) = batch.first() else { return Ok(()) };
        let file = self.newest(first.time())?;
        let Some(connection) = self.open.as_mut() else { return Ok(()) };
        let wrong = |error: rusqlite::Error| failure(&file.path, &error);
        let mut after = file.clone();
        after.last = self.last;
        let transaction = connection.transaction().map_err(wrong)?;
        for entry in batch {
            let written = match entry {
                Entry::Frames(time, frames) => schema::write_frames(&transaction, *time, frames),
                // The audit trail has them.
                Entry::Change(_) => Ok(()),
                Entry::Record(record) => match self.folded.of(record) {
                    Some(id) => schema::add_count(&transaction, id, record),
                    None => {
                        let id = after.next_id(record.time);
                        self.folded.add(record, id);
                        after.records += 1;
                        schema::write(&transaction, id, record)
                    }
                },
            };
            written.map_err(wrong)?;
        }
        if after.skew != file.skew {
            let skew = i64::try_from(after.skew).unwrap_or(i64::MAX);
            let set = "UPDATE meta SET value = ? WHERE key = 'skew'";
            transaction.execute(set, [skew]).map_err(wrong)?;
        }
        transaction.commit().map_err(wrong)?;
        self.last = after.last;
        if !self.shared.replace_newest(after) {
            // It was put aside while it was written: the batch goes to another.
            return Err(StoreError::of(&file.path, "was put aside, since it is damaged"));
        }
        Ok(())
    }

    /// The file that takes records from a time on, open.
    fn newest(&mut self, time: u64) -> Result<RecordFile, StoreError> {
        let newest = self.shared.newest();
        // What cannot be read is not written; the one that is open is read by the writer.
        let is_usable = |file: &RecordFile| match file.broken {
            None => true,
            Some(Broken::Aside(_)) => false,
            Some(Broken::Unreadable(_)) => self.open.is_some(),
        };
        if newest.as_ref().is_some_and(|newest| !is_usable(newest)) {
            self.open = None;
            self.folded = Folded::default();
        } else if let Some(newest) = newest {
            let age = time.saturating_sub(newest.first >> TIME_SHIFT);
            if newest.records < self.options.file_rows && age < DAY && !self.is_full {
                if self.open.is_none() {
                    self.open = Some(schema::open(&newest.path)?);
                }
                return Ok(newest);
            }
            self.seal(newest);
        }
        let first = files::number_at(time).max(self.last.saturating_add(1));
        let path = files::path(&self.options.folder, first);
        self.open = Some(schema::open(&path)?);
        self.is_full = false;
        // The first record may have the number itself.
        let last = first.saturating_sub(1);
        self.last = last;
        let file = RecordFile { path, first, last, skew: 0, records: 0, broken: None };
        self.shared.push(file.clone());
        Ok(file)
    }

    /// Closes a file that is full.
    fn seal(&mut self, file: RecordFile) {
        self.folded = Folded::default();
        let Some(connection) = self.open.take() else { return };
        // Beside this thread: the index becomes one piece, which takes seconds.
        thread::spawn(move || {
            let finish = "INSERT INTO terms (terms) VALUES ('optimize'); \
                          PRAGMA wal_checkpoint (TRUNCATE);";
            if let Err(error) = connection.execute_batch(finish) {
                tracing::warn!("{}: {error}", file.path.display());
            }
        });
    }

    /// After a failure: what is in memory may not be what is in the file.
    fn give_up_file(&mut self, error: &StoreError) {
        self.open = None;
        self.folded = Folded::default();
        if error.is_damage()
            && let Some(newest) = self.shared.newest()
        {
            self.shared.give_up(newest.first, error);
        }
        self.kept_house = None;
    }

    /// Finds the files that are there, once; removes what is too old or too much.
    fn keep_house(&mut self) -> Result<(), StoreError> {
        let (unix, steady) = ((self.options.clock)(), (self.options.steady)());
        let waited = |when| Duration::from_nanos(steady.saturating_sub(when)) >= HOUSEKEEPING;
        if !self.kept_house.is_none_or(waited) {
            return Ok(());
        }
        if !self.shared.is_known.load(Ordering::Acquire) {
            files::make_folder(&self.options.folder)?;
            let found = files::list(&self.options.folder, unix)?;
            self.last = found.last().map_or(0, |file| file.last);
            self.shared.know(found);
        }
        self.kept_house = Some(steady);
        self.shared.look_again();
        let mut files = self.shared.files();
        let mut sizes: Vec<_> = files.iter().map(|file| files::bytes(&file.path)).collect();
        let share = self.options.bytes / SHARE;
        if let (Some(newest), Some(bytes)) = (files.last(), sizes.last_mut()) {
            if *bytes > share {
                self.empty_journal();
                *bytes = files::bytes(&newest.path);
            }
            self.is_full = *bytes > share;
        }
        // The newest record says how late it was at least; a clock that is far ahead of it
        // is not believed at once, so that a wrong one does not cost the record.
        let newest = files.last().map_or(unix, RecordFile::reaches).min(unix);
        let time = self.time.get_or_insert(Settled::new(newest, steady));
        let oldest_kept = time.update(unix, steady).saturating_sub(millis(self.options.age));
        self.shared.oldest_kept.store(oldest_kept, Ordering::Relaxed);
        // The newest is being written.
        while files.len() > 1 {
            let is_old = files[0].last >> TIME_SHIFT < oldest_kept;
            if !is_old && sizes.iter().sum::<u64>() <= self.options.bytes {
                break;
            }
            self.shared.remove_oldest();
            files::remove(&files[0].path);
            files.remove(0);
            sizes.remove(0);
        }
        self.shared.bytes.store(sizes.iter().sum(), Ordering::Relaxed);
        Ok(())
    }

    /// Puts what stands in the newest file's journal into the file itself: most of a
    /// journal is pages that were written again and again, and says nothing of how many
    /// records there are.
    fn empty_journal(&self) {
        let Some(connection) = &self.open else { return };
        // Neither a search that reads from it is waited for nor a failure minded: the
        // journal stays then, and counts.
        _ = connection.busy_timeout(Duration::ZERO);
        _ = connection.query_row("PRAGMA wal_checkpoint (TRUNCATE)", [], |_| Ok(()));
        _ = connection.busy_timeout(schema::BUSY);
    }
}

impl Folded {
    /// The record that counts such SYNs or attempts already.
    fn of(&mut self, record: &Record) -> Option<u64> {
        if !record.is_counted() {
            return None;
        }
        let minute = record.time / 60_000;
        if minute != self.minute {
            self.minute = minute;
            self.records.clear();
        }
        self.records.get(&alike(record)).copied()
    }

    fn add(&mut self, record: &Record, id: u64) {
        if record.is_counted() && self.records.len() < FOLDED {
            self.records.insert(alike(record), id);
        }
    }
}

fn alike(record: &Record) -> Alike {
    let Record { ip, direction, status, reason, session, customer, .. } = record;
    (*ip, direction.clone(), *status, reason.clone(), session.clone(), customer.clone())
}

/// Waits for entries and gathers those that follow soon; says whether more can come.
fn gather(
    jobs: &Receiver<Job>,
    batch: &mut Vec<Entry>,
    waiting: &mut Vec<std::sync::mpsc::SyncSender<()>>,
) -> bool {
    let mut patience = HOUSEKEEPING;
    let mut deadline = None;
    let mut bytes = 0;
    while batch.len() < BATCH && bytes < BATCH_BYTES {
        match jobs.recv_timeout(patience) {
            Ok((Job::Entry(entry), weight)) => {
                batch.push(entry);
                bytes += weight;
            }
            Ok((Job::Flush(sender), _)) => {
                waiting.push(sender);
                return true;
            }
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        let now = Instant::now();
        let end = *deadline.get_or_insert(now + GATHER);
        patience = end.saturating_duration_since(now);
    }
    true
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
