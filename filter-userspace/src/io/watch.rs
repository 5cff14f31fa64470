//! Watches files for changes.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// The maximum depth of symbolic links that are followed.
const LINKS: u8 = 8;

/// The maximum depth of folders that are read.
const FOLDERS: u8 = 4;

/// Watches files and folders. Editors and feeds replace files instead of writing to them, so the
/// folders around them are watched.
pub struct Watch {
    // Dropping it ends the watch.
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Calls `changed`, on a thread of its own, whenever one of `paths` is written, replaced,
    /// created or removed. The path of a folder includes its contents.
    ///
    /// # Errors
    ///
    /// When the system has no watches left; names the limit to raise.
    pub fn start(
        paths: &[PathBuf],
        changed: impl Fn() + Send + 'static,
    ) -> Result<Self, notify::Error> {
        let mut files = BTreeSet::new();
        for path in paths {
            names(path, LINKS, &mut files);
        }
        let watched = files.clone();
        let mut watcher = notify::recommended_watcher(move |event: Result<notify::Event, _>| {
            let Ok(event) = event else {
                return changed();
            };
            // Not while a file is being written: half a line may be a wider prefix.
            let is_change = match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Remove(_) => true,
                EventKind::Create(_) => {
                    event.paths.iter().any(|path| path.is_symlink() || path.is_dir())
                }
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
            // For a missing folder, the nearest existing one: the folder may appear.
            folders.extend(path.ancestors().skip(1).find(|folder| folder.is_dir()));
        }
        for folder in folders {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
        Ok(Self { _watcher: watcher })
    }
}

/// Whether a path is watched, is in a watched folder, or is a folder around a watched path.
fn is_watched(files: &BTreeSet<PathBuf>, path: &Path) -> bool {
    path.ancestors().any(|ancestor| files.contains(ancestor))
        || files.range(path.to_owned()..).next().is_some_and(|file| file.starts_with(path))
}

/// A file's names: its own, and those of the symbolic links that lead to it, one of which may be
/// changed to lead elsewhere.
fn names(path: &Path, links: u8, found: &mut BTreeSet<PathBuf>) {
    found.insert(canonical(path));
    let Some(links) = links.checked_sub(1) else { return };
    for ancestor in path.ancestors() {
        let (Ok(target), Ok(rest)) = (fs::read_link(ancestor), path.strip_prefix(ancestor)) else {
            continue;
        };
        found.insert(canonical(ancestor));
        let target = ancestor.parent().unwrap_or(Path::new("")).join(target);
        let is_itself = rest.as_os_str().is_empty();
        names(&if is_itself { target } else { target.join(rest) }, links, found);
    }
}

/// The stamp of a file, or of a folder with its contents: equal stamps mean that nothing was
/// replaced or written in between.
#[must_use]
pub fn stamp(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    add_stamp(path, FOLDERS, &mut hasher);
    hasher.finish()
}

fn add_stamp(path: &Path, folders: u8, hasher: &mut DefaultHasher) {
    let Ok(file) = fs::metadata(path) else { return };
    (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()).hash(hasher);
    let Some(folders) = folders.checked_sub(1).filter(|_| file.is_dir()) else { return };
    let mut inside: Vec<_> =
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    inside.sort();
    for path in inside {
        add_stamp(&path, folders, hasher);
    }
}

/// The path with its folder resolved, as the kernel reports it; the file itself
/// may be missing for now.
fn canonical(path: &Path) -> PathBuf {
    match (path.parent().and_then(|folder| folder.canonicalize().ok()), path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}
