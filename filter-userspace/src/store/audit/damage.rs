//! Files of the audit trail of which something cannot be read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::trail::{list, read};
use crate::io::watch;
use crate::record::Change;

/// What is known of damaged files.
#[derive(Debug, Default)]
pub(super) struct Damages {
    known: Mutex<BTreeMap<PathBuf, Damage>>,
}

/// What cannot be read of a file, as it was then.
#[derive(Debug)]
struct Damage {
    stamp: u64,
    what: String,
}

impl Damages {
    fn known(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Damage>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The changes of a file, the oldest first, and what of it cannot be read, which is
    /// remembered.
    pub(super) fn look(&self, path: &Path) -> (Vec<Change>, Option<String>) {
        let stamp = watch::stamp(path);
        let name = path.display();
        let (changes, what) = match read(path) {
            Ok((changes, 0)) => (changes, None),
            Ok((changes, unreadable)) => {
                let lines = if unreadable == 1 { "line" } else { "lines" };
                (changes, Some(format!("{name}: {unreadable} damaged {lines} skipped")))
            }
            // It was removed, for its age or by hand.
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), None),
            Err(error) => (Vec::new(), Some(format!("{name}: {error}"))),
        };
        let mut known = self.known();
        match &what {
            Some(what) => {
                _ = known.insert(path.to_owned(), Damage { stamp, what: what.clone() });
            }
            None => _ = known.remove(path),
        }
        (changes, what)
    }

    /// Looks at all files of a folder: what nobody has asked for yet may be damaged all the
    /// same.
    pub(super) fn look_at_all(&self, folder: &Path) {
        for (_, path) in list(folder).unwrap_or_default() {
            _ = self.look(&path);
        }
    }

    /// What cannot be read now, a sentence each: files that have changed since are looked at
    /// again.
    pub(super) fn all(&self) -> Vec<String> {
        let known = self.known();
        let touched = known.iter().filter(|(path, damage)| watch::stamp(path) != damage.stamp);
        let touched: Vec<_> = touched.map(|(path, _)| path.clone()).collect();
        drop(known);
        for path in touched {
            _ = self.look(&path);
        }
        self.known().values().map(|damage| damage.what.clone()).collect()
    }
}
