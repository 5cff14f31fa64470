//! `target/setup`, where trees are put together.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::sh::{self, say};

/// `target/setup`: downloads and half-done work, held by one set-up at a time.
pub(super) struct Scratch {
    pub(super) folder: PathBuf,
    /// Held, not read: the kernel drops the lock when the process ends.
    _lock: File,
}

impl Scratch {
    pub(super) fn lock(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join("lock");
        let lock =
            File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                say("another set-up is running; waiting for it");
                lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// Where downloaded packages wait; they are checked whenever they are used.
    pub(super) fn downloads(&self) -> PathBuf {
        self.folder.join("packages")
    }

    /// An empty folder to put `name` together in. What interrupted set-ups left
    /// is removed; the process number keeps a child that outlived one of them
    /// from writing into this one's.
    pub(super) fn stage(&self, name: &str) -> Result<PathBuf> {
        for entry in fs::read_dir(&self.folder)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("stage-") {
                sh::remove(&entry.path())?;
            }
        }
        let stage = self.folder.join(format!("stage-{name}-{}", std::process::id()));
        fs::create_dir(&stage).with_context(|| format!("cannot make {}", stage.display()))?;
        Ok(stage)
    }

    /// Frees the room that only a set-up in progress needs; the package index
    /// stays, it is small and the next set-up starts quicker with it.
    pub(super) fn clear(&self) {
        for name in ["packages", "linker-build"] {
            if let Err(error) = sh::remove(&self.folder.join(name)) {
                say(format_args!("left behind: {error:#}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        sh::remove(&folder).unwrap();
        folder
    }

    #[test]
    fn a_stage_starts_empty_and_removes_what_others_left() {
        let folder = folder("stage");
        let scratch = Scratch::lock(&folder).unwrap();
        let left = folder.join("stage-peers-1");
        fs::create_dir_all(left.join("usr")).unwrap();
        let stage = scratch.stage("peers").unwrap();
        assert!(!left.exists());
        assert_eq!(fs::read_dir(&stage).unwrap().count(), 0);
        sh::remove(&folder).unwrap();
    }

    #[test]
    fn only_one_set_up_holds_the_lock() {
        let folder = folder("lock");
        let scratch = Scratch::lock(&folder).unwrap();
        let second = File::create(folder.join("lock")).unwrap();
        assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));
        drop(scratch);
        assert!(second.try_lock().is_ok());
        sh::remove(&folder).unwrap();
    }
}
