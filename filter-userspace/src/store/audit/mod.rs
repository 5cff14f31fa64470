//! The audit trail: what operators changed, in files of its own that no traffic evicts.
//!
//! A change is a line of JSON, on the disk before the next is written. Files are named by
//! the time at which they begin; the oldest go when all together have more than their bytes.
//! The queue in front is of its own too, so that changes are written while the mail log
//! cannot be, or is flooded. A line that cannot be read costs itself and no other.

mod damage;
mod trail;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::damage::Damages;
pub(super) use self::trail::remove_all;
use self::trail::{FILE, FOLDER, list, open, path};

use crate::io::state;
use crate::record::{Change, Changes};
use crate::store::traits::StoreError;

/// The changes that may wait to be written.
const QUEUE: usize = 2_048;

/// The most bytes of each part of a change; what is longer is cut.
const PART: usize = 4 << 10;

/// The part of all bytes that one file may take.
const SHARE: u64 = 8;

/// How often all files are looked at.
const LOOK: Duration = Duration::from_hours(1);

/// How long it waits after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// The audit trail of a folder.
#[derive(Debug)]
pub(super) struct Audit {
    folder: PathBuf,
    shared: Arc<Shared>,
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ending: AtomicBool,
    lost: AtomicU64,
    error: Mutex<Option<String>>,
    /// Files of which something cannot be read.
    damages: Damages,
}

enum Job {
    Change(Change),
    /// To say when what came before is written.
    Flush(SyncSender<()>),
}

struct Writer {
    folder: PathBuf,
    bytes: u64,
    clock: fn() -> u64,
    shared: Arc<Shared>,
    /// The newest file, while it is open, and what it has.
    open: Option<(File, u64)>,
}

impl Audit {
    /// Starts the writer of the trail in a folder of records; `before` has the changes, the oldest first, that stand elsewhere
    /// from the time when there was no audit trail.
    pub(super) fn start(
        folder: &Path,
        bytes: u64,
        clock: fn() -> u64,
        before: impl FnOnce() -> Vec<Change>,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let (queue, jobs) = sync_channel(QUEUE);
        let folder = folder.join(FOLDER);
        let writer =
            Writer { folder: folder.clone(), bytes, clock, shared: shared.clone(), open: None };
        if let Err(error) = writer.take_over(before) {
            shared.set_error(Some(format!("{}: {error}", folder.display())));
        }
        let thread = Some(thread::spawn(move || writer.run(&jobs)));
        Self { folder, shared, queue: Some(queue), thread }
    }

    /// Takes a change, now or never; what finds no room is counted.
    pub(super) fn add(&self, change: Change) {
        let taken = self
            .queue
            .as_ref()
            .is_some_and(|queue| queue.try_send(Job::Change(cut(change))).is_ok());
        if !taken {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The newest changes, at most `limit`.
    pub(super) fn newest(&self, limit: usize) -> Result<Changes, StoreError> {
        let mut found = Changes::default();
        let files = match list(&self.folder) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(StoreError::of(&self.folder, error)),
        };
        for (_, path) in files.iter().rev() {
            let (changes, damage) = self.shared.damages.look(path);
            found.skipped.extend(damage);
            let missing = limit.saturating_sub(found.changes.len());
            found.changes.extend(changes.into_iter().rev().take(missing));
            if found.changes.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// Why changes cannot be written, and how many found no room.
    pub(super) fn health(&self) -> (Option<String>, u64) {
        let error = self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (error, self.shared.lost.load(Ordering::Relaxed))
    }

    /// What of the trail cannot be read, until it is mended or gone: a sentence each.
    pub(super) fn damaged(&self) -> Vec<String> {
        self.shared.damages.all()
    }

    /// Waits until what came before is written.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let Some(queue) = &self.queue else { return false };
        let (sender, done) = sync_channel(1);
        queue.try_send(Job::Flush(sender)).is_ok() && done.recv_timeout(patience).is_ok()
    }
}

impl Drop for Audit {
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
    fn set_error(&self, error: Option<String>) {
        let mut known = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != error {
            match &error {
                Some(error) => tracing::error!("the audit trail cannot be written: {error}"),
                None => tracing::info!("the audit trail is written again"),
            }
            *known = error;
        }
    }
}

impl Writer {
    /// Begins an audit trail with the changes from before there was one; never again.
    fn take_over(&self, before: impl FnOnce() -> Vec<Change>) -> io::Result<()> {
        state::make_folder(&self.folder)?;
        if !list(&self.folder)?.is_empty() {
            return Ok(());
        }
        // The newest that have room, in one file, which is there whole or not at all.
        let lines: Vec<_> = before().into_iter().map(|change| line(&cut(change))).collect();
        let mut room = self.file_bytes();
        let kept = lines.iter().rev().take_while(|line| {
            let has_room = room >= line.len() as u64;
            room = room.saturating_sub(line.len() as u64);
            has_room
        });
        let first = lines.len() - kept.count();
        state::replace(&path(&self.folder, 0), &lines[first..].concat())
    }

    fn file_bytes(&self) -> u64 {
        (self.bytes / SHARE).clamp(1, FILE)
    }

    fn run(mut self, jobs: &Receiver<Job>) {
        let mut text = Vec::new();
        let mut waiting = Vec::new();
        let mut looked: Option<Instant> = None;
        loop {
            if looked.is_none_or(|at| at.elapsed() >= LOOK) {
                self.shared.damages.look_at_all(&self.folder);
                looked = Some(Instant::now());
            }
            let ended = !gather(jobs, &mut text, &mut waiting);
            while !text.is_empty() {
                let written = self.write(&text);
                self.shared.set_error(
                    written
                        .as_ref()
                        .err()
                        .map(|error| format!("{}: {error}", self.folder.display())),
                );
                if written.is_ok() {
                    text.clear();
                } else if ended || self.shared.ending.load(Ordering::Acquire) {
                    let lines = text.iter().filter(|byte| **byte == b'\n').count();
                    self.shared.lost.fetch_add(lines as u64, Ordering::Relaxed);
                    text.clear();
                } else {
                    thread::sleep(PAUSE);
                }
            }
            for sender in waiting.drain(..) {
                // Whoever asked may have gone.
                _ = sender.send(());
            }
            if ended {
                return;
            }
        }
    }

    /// Appends lines, all of them or none, and makes room for those to come.
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let written = self.append(text);
        if written.is_err() {
            // What is there of them is cut off when the file is opened again.
            self.open = None;
        }
        written
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|(_, size)| *size >= self.file_bytes()) {
            self.open = None;
        }
        let (file, size) = match &mut self.open {
            Some(open) => open,
            None => {
                let opened = self.open_newest()?;
                self.open.insert(opened)
            }
        };
        let end = *size;
        let written = file.write_all(text).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Lines that were not written whole are written again.
            _ = file.set_len(end);
            return Err(error);
        }
        *size += text.len() as u64;
        Ok(())
    }

    /// Opens the newest file that has room, or begins another.
    fn open_newest(&self) -> io::Result<(File, u64)> {
        state::make_folder(&self.folder)?;
        let mut known = list(&self.folder)?;
        let newest = known.last().cloned();
        if let Some((_, path)) = &newest {
            let size = fs::metadata(path)?.len();
            if size < self.file_bytes() {
                return open(path);
            }
        }
        let first = newest.map_or(0, |(first, _)| first.saturating_add(1)).max((self.clock)());
        let path = path(&self.folder, first);
        let opened = open(&path)?;
        state::sync_folder(&self.folder)?;
        known.push((first, path));
        self.make_room(&known);
        Ok(opened)
    }

    /// Removes the oldest files until one more has room.
    fn make_room(&self, known: &[(u64, PathBuf)]) {
        let sizes: Vec<_> =
            known.iter().map(|(_, path)| fs::metadata(path).map_or(0, |file| file.len())).collect();
        let mut total: u64 = sizes.iter().sum::<u64>() + self.file_bytes();
        // Never the one that is written.
        for ((_, path), size) in known.iter().zip(&sizes).take(known.len().saturating_sub(1)) {
            if total <= self.bytes {
                return;
            }
            if let Err(error) = fs::remove_file(path) {
                tracing::error!("{}: {error}", path.display());
            }
            total = total.saturating_sub(*size);
        }
    }
}

/// Waits for changes and gathers those that are there; says whether more can come.
fn gather(jobs: &Receiver<Job>, text: &mut Vec<u8>, waiting: &mut Vec<SyncSender<()>>) -> bool {
    let mut patience = LOOK;
    loop {
        match jobs.recv_timeout(patience) {
            Ok(Job::Change(change)) => text.extend_from_slice(&line(&change)),
            Ok(Job::Flush(sender)) => waiting.push(sender),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        if text.len() > 256 << 10 {
            return true;
        }
        patience = Duration::ZERO;
    }
}

fn line(change: &Change) -> Vec<u8> {
    // A change holds a number and strings: all have JSON forms, on one line.
    let mut line = serde_json::to_vec(change).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Bounds what one change takes: parts of it are an operator's to choose.
fn cut(mut change: Change) -> Change {
    for part in [&mut change.who, &mut change.what, &mut change.outcome] {
        if part.len() > PART {
            let end = part.floor_char_boundary(PART);
            part.truncate(end);
            part.push('…');
        }
    }
    change
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn change(n: u64) -> Change {
        let (who, what) = ("uid 0".to_owned(), format!("block 192.0.2.{n}"));
        Change { time: 1_795_000_000_000 + n, who, what, outcome: "done".to_owned() }
    }

    fn trail(folder: &Path, bytes: u64) -> Audit {
        Audit::start(folder, bytes, || 1_795_000_000_000, Vec::new)
    }

    fn whats(found: &Changes) -> Vec<&str> {
        found.changes.iter().map(|change| change.what.as_str()).collect()
    }

    #[test]
    fn changes_are_there_after_a_restart_and_the_newest_come_first() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..6 {
            let audit = trail(folder.path(), 1 << 20);
            audit.add(change(n));
            assert!(audit.flush(PATIENCE));
        }
        let found = trail(folder.path(), 1 << 20).newest(3).unwrap();
        assert_eq!(whats(&found), ["block 192.0.2.5", "block 192.0.2.4", "block 192.0.2.3"]);
        assert_eq!(found.skipped, Vec::<String>::new());
    }

    #[test]
    fn the_oldest_go_when_there_are_more_than_their_bytes() {
        const BYTES: u64 = 64 << 10;
        let folder = tempfile::tempdir().unwrap();
        let audit = trail(folder.path(), BYTES);
        for n in 0..3_000 {
            audit.add(change(n));
            if n % 100 == 99 {
                assert!(audit.flush(PATIENCE));
                let files = list(&folder.path().join(FOLDER)).unwrap();
                let sizes = files.iter().map(|(_, path)| fs::metadata(path).unwrap().len());
                // A batch that was written meanwhile may be over it.
                assert!(sizes.sum::<u64>() <= BYTES + BYTES / SHARE + (16 << 10), "{n}");
            }
        }
        let found = audit.newest(10_000).unwrap();
        assert_eq!(found.changes[0], change(2_999));
        assert!((200..1_000).contains(&found.changes.len()), "{}", found.changes.len());
    }

    #[test]
    fn a_damaged_line_costs_itself_and_half_a_line_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let audit = trail(folder.path(), 1 << 20);
        audit.add(change(0));
        audit.add(change(1));
        assert!(audit.flush(PATIENCE));
        drop(audit);
        let file = list(&folder.path().join(FOLDER)).unwrap()[0].1.clone();
        let mut text = fs::read_to_string(&file).unwrap();
        text.insert_str(text.find('\n').unwrap() + 1, "no JSON\n");
        text.push_str("{\"time\":\"2026-11-");
        fs::write(&file, text).unwrap();
        let audit = trail(folder.path(), 1 << 20);
        audit.add(change(2));
        assert!(audit.flush(PATIENCE));
        let found = audit.newest(10).unwrap();
        assert_eq!(whats(&found), ["block 192.0.2.2", "block 192.0.2.1", "block 192.0.2.0"]);
        assert_eq!(found.skipped.len(), 1, "{:?}", found.skipped);
        assert!(found.skipped[0].ends_with("1 damaged line skipped"), "{:?}", found.skipped);
    }

    #[test]
    fn damage_is_known_until_it_is_mended_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let audit = trail(folder.path(), 1 << 20);
        audit.add(change(0));
        assert!(audit.flush(PATIENCE));
        drop(audit);
        let file = list(&folder.path().join(FOLDER)).unwrap()[0].1.clone();
        let good = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{good}no JSON\nnor this\n")).unwrap();
        // A start looks at all files, whether or not somebody asks for changes.
        let audit = trail(folder.path(), 1 << 20);
        audit.add(change(1));
        assert!(audit.flush(PATIENCE));
        let damaged = audit.damaged();
        assert_eq!(damaged.len(), 1, "{damaged:?}");
        let name = file.display().to_string();
        assert!(damaged[0].starts_with(&name) && damaged[0].ends_with("2 damaged lines skipped"));
        fs::write(&file, &good).unwrap();
        assert_eq!(audit.damaged(), [""; 0]);
        // What is damaged meanwhile is known once somebody has looked.
        fs::write(&file, format!("no JSON\n{good}")).unwrap();
        assert_eq!(audit.newest(1).unwrap().skipped, audit.damaged());
        assert_eq!(audit.damaged().len(), 1);
        fs::remove_file(&file).unwrap();
        assert_eq!(audit.damaged(), [""; 0]);
    }

    #[test]
    fn changes_from_before_there_was_an_audit_trail_are_taken_over_once() {
        let folder = tempfile::tempdir().unwrap();
        let before = || vec![change(0), change(1)];
        for _ in 0..2 {
            let audit = Audit::start(folder.path(), 1 << 20, || 0, before);
            assert_eq!(whats(&audit.newest(9).unwrap()), ["block 192.0.2.1", "block 192.0.2.0"]);
        }
        // Of too many, the newest.
        let other = tempfile::tempdir().unwrap();
        let many = || (0..5_000).map(change).collect();
        let audit = Audit::start(other.path(), 64 << 10, || 0, many);
        let found = audit.newest(9_999).unwrap();
        assert_eq!(found.changes[0], change(4_999));
        assert!((20..500).contains(&found.changes.len()), "{}", found.changes.len());
    }

    #[test]
    fn a_change_of_any_size_takes_a_bounded_room() {
        let folder = tempfile::tempdir().unwrap();
        let audit = trail(folder.path(), 1 << 20);
        audit.add(Change { what: "ü".repeat(100_000), ..change(0) });
        assert!(audit.flush(PATIENCE));
        let found = audit.newest(1).unwrap();
        assert!(found.changes[0].what.len() <= PART + '…'.len_utf8());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_said_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        // A file where the folder should be stops root too.
        fs::write(folder.path().join(FOLDER), "").unwrap();
        let audit = trail(folder.path(), 1 << 20);
        audit.add(change(0));
        assert!(!audit.flush(Duration::from_millis(100)) && audit.health().0.is_some());
        fs::remove_file(folder.path().join(FOLDER)).unwrap();
        assert!(audit.flush(PATIENCE));
        assert_eq!(
            (audit.health(), whats(&audit.newest(9).unwrap())),
            ((None, 0), vec!["block 192.0.2.0"])
        );
    }
}
