//! Watches files for changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// Watches files and folders; editors and feeds replace files rather than write
/// to them, so it is the folders around them that are watched.
pub struct Watch {
    // Dropping it ends the watch.
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Calls `changed`, on a thread of its own, whenever one of `paths` is
    /// written, replaced, created or removed. A path that is a folder stands for
    /// what is in it.
    ///
    /// # Errors
    ///
    /// When the system has no watches left, with what to raise.
    pub fn start(
        paths: &[PathBuf],
        changed: impl Fn() + Send + 'static,
    ) -> Result<Self, notify::Error> {
        let files: BTreeSet<PathBuf> = paths.iter().map(|path| canonical(path)).collect();
        let watched = files.clone();
        let mut watcher = notify::recommended_watcher(move |event: Result<notify::Event, _>| {
            let Ok(event) = event else {
                return changed();
            };
            // Not while a file is written: half a line may be a wider prefix.
            let is_change = match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Remove(_) => true,
                EventKind::Create(_) => event.paths.iter().any(|path| path.is_symlink()),
                _ => false,
            };
            if is_change && event.paths.iter().any(|path| is_watched(&files, path)) {
                changed();
            }
        })?;
        let mut folders = BTreeSet::new();
        for path in &watched {
            if path.is_dir() {
                watcher.watch(path, RecursiveMode::Recursive)?;
            }
            folders.extend(path.parent());
        }
        for folder in folders {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
        Ok(Self { _watcher: watcher })
    }
}

fn is_watched(files: &BTreeSet<PathBuf>, path: &Path) -> bool {
    path.ancestors().any(|ancestor| files.contains(ancestor))
}

/// The path with its folder resolved, as the kernel reports it; the file itself
/// may be missing for now.
fn canonical(path: &Path) -> PathBuf {
    match (path.parent().and_then(|folder| folder.canonicalize().ok()), path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}
