//! What the writer and those that search share: the files, the readers, the counts.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use super::files::{self, Broken, RecordFile};
use super::reader::Reader;
use crate::store::entry::Entry;
use crate::store::losses::Losses;
use crate::store::traits::StoreError;

/// The readers that are kept between searches.
const READERS: usize = 4;

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
    pub(super) losses: Losses,
    pub(super) written: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// From when on records are kept: milliseconds of the Unix epoch.
    pub(super) oldest_kept: AtomicU64,
    pub(super) error: Mutex<Option<String>>,
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

impl Shared {
    pub(super) fn files(&self) -> Vec<RecordFile> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).clone()
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
    pub(super) fn lend(&self) -> (Option<Reader>, u64) {
        let mut readers = self.readers();
        (readers.idle.pop(), readers.gone)
    }

    pub(super) fn take_back(&self, reader: Reader, gone: u64) {
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
    pub(super) fn is_failing(&self) -> bool {
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
