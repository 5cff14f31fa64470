//! The state folder: what is kept in it under which name, and how a file is replaced durably.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How the name of a file ends while its next version is written.
const NEXT: &str = "next";

/// How the names of files with the networks of approved domains begin.
const APPROVED_SPF: &str = "approved-spf-";

/// A file or a folder in the state folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateItem {
    /// The managed entries: [`super::runtime_file`].
    ManagedEntries,
    /// A folder with a copy of the managed entries.
    ManagedCopy,
    /// The changes of managed entries since they were written: [`super::runtime_journal`].
    ManagedJournal,
    /// Temporary blocks: [`super::temporary_file`].
    TemporaryBlocks,
    /// Temporary blocks that have ended: [`super::offender_file`].
    EndedBlocks,
    /// Who delivered mail: [`super::offender_file`].
    Deliveries,
    /// Hosts that are suspended from sending out.
    SuspendedHosts,
    /// The time by which all of these end: [`super::timeline`].
    Clock,
    /// A folder with what sources last said well: [`super::last_good`].
    LastGood,
}

impl StateItem {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::ManagedEntries,
        Self::ManagedCopy,
        Self::ManagedJournal,
        Self::TemporaryBlocks,
        Self::EndedBlocks,
        Self::Deliveries,
        Self::SuspendedHosts,
        Self::Clock,
        Self::LastGood,
    ];

    /// Its name in the state folder.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ManagedEntries => "runtime.json",
            Self::ManagedCopy => "runtime-copy",
            Self::ManagedJournal => "runtime.journal",
            Self::TemporaryBlocks => "temporary.txt",
            Self::EndedBlocks => "ended.txt",
            Self::Deliveries => "delivered.txt",
            Self::SuspendedHosts => "suspended.txt",
            Self::Clock => "clock.txt",
            Self::LastGood => "last-good",
        }
    }

    /// Its path in a state folder.
    #[must_use]
    pub fn path(self, state: &Path) -> PathBuf {
        state.join(self.name())
    }

    /// Removes it from a state folder, where it is there.
    pub fn remove(self, state: &Path) {
        let path = self.path(state);
        // What is not there needs no removal.
        _ = match self {
            Self::ManagedCopy | Self::LastGood => fs::remove_dir_all(path),
            _ => fs::remove_file(path),
        };
    }
}

impl fmt::Display for StateItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Removes everything that is kept in a state folder, and the folder if nothing else is in it:
/// for a trial, which leaves nothing behind.
pub fn remove_all(state: &Path) {
    StateItem::ALL.into_iter().for_each(|item| item.remove(state));
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_approved_spf) {
            _ = fs::remove_file(entry.path());
        }
    }
    // What others put there stays.
    _ = fs::remove_dir(state);
}

/// The file of the networks that the SPF record of an approved domain names. A domain is
/// letters, digits, hyphens and dots.
#[must_use]
pub fn approved_spf(state: &Path, domain: &str) -> PathBuf {
    state.join(format!("{APPROVED_SPF}{domain}.txt"))
}

fn is_approved_spf(name: &str) -> bool {
    name.starts_with(APPROVED_SPF) && name.ends_with(".txt")
}

/// Puts a file in the place of the one at `path`, whole or not at all, and durably: when
/// it returns, the file survives a power cut. Its folder is made (0700) if missing, and the
/// file has mode 0600. Every file that mxdp replaces is replaced by this.
///
/// # Errors
///
/// If anything of it fails. What was there before is then still there, unless the last
/// step failed, which makes the new name durable: then the new file is there, and a power
/// cut may bring back the one before.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_by(path, &[bytes])
}

/// The same, where the bytes are in several pieces.
///
/// # Errors
///
/// As [`replace`].
pub fn replace_by(path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
    replace_on(&System, path, pieces)
}

/// Makes the names of a folder durable: files that were created, renamed or removed in it.
///
/// # Errors
///
/// Those of the system.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    System.sync_folder(folder)
}

/// Makes a folder (0700), and those above it that are missing; its name is durable.
///
/// # Errors
///
/// Those of the system.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> =
        folder.ancestors().take_while(|path| !is_here(path) && !path.exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    missing.iter().rev().try_for_each(|path| sync_folder(folder_of(path)))
}

/// Whether a file is the next version of another, which is being written or was left behind
/// by a crash.
#[must_use]
pub fn is_next(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == NEXT)
}

/// The steps of a replacement, so that a test can watch their order and have each fail.
trait Disk {
    /// Creates a file, which must not be there, and writes it.
    fn write(&self, path: &Path, pieces: &[&[u8]]) -> io::Result<File>;
    /// Makes what a file holds durable.
    fn sync_file(&self, file: &File) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

struct System;

impl Disk for System {
    fn write(&self, path: &Path, pieces: &[&[u8]]) -> io::Result<File> {
        // `create_new` follows no link that someone put there in between.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        pieces.iter().try_for_each(|piece| file.write_all(piece))?;
        Ok(file)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

fn replace_on(disk: &impl Disk, path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
    let folder = folder_of(path);
    make_folder(folder)?;
    let next = next_of(path);
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = disk
        .write(&next, pieces)
        // On the disk before it has the name: else a power cut may leave an empty file.
        .and_then(|file| disk.sync_file(&file))
        .and_then(|()| disk.rename(&next, path));
    if written.is_err() {
        // Half a file does not help a full disk. The first error counts.
        _ = fs::remove_file(&next);
    }
    written?;
    disk.sync_folder(folder)
}

/// Whether a path is the current folder, by its empty name.
fn is_here(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

/// The folder that holds a file.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !is_here(folder)).unwrap_or(Path::new("."))
}

/// The next version of a file while it is written. A crash may leave it behind; it is never
/// read, and the next replacement removes it.
fn next_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(NEXT);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// The real disk, whose steps are written down, and of which one may fail.
    #[derive(Default)]
    struct Watched {
        steps: RefCell<Vec<String>>,
        failing: Option<&'static str>,
    }

    impl Watched {
        fn step(&self, step: &'static str, path: Option<&Path>) -> io::Result<()> {
            let name = path.and_then(Path::file_name).map(|name| name.to_string_lossy());
            let name = name.map(|name| format!(" {name}")).unwrap_or_default();
            self.steps.borrow_mut().push(format!("{step}{name}"));
            if self.failing == Some(step) { Err(io::Error::other(step)) } else { Ok(()) }
        }
    }

    impl Disk for Watched {
        fn write(&self, path: &Path, pieces: &[&[u8]]) -> io::Result<File> {
            let file = System.write(path, pieces)?;
            self.step("write", Some(path)).map(|()| file)
        }

        fn sync_file(&self, file: &File) -> io::Result<()> {
            self.step("sync the file", None).and_then(|()| System.sync_file(file))
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.step("rename to", Some(to)).and_then(|()| System.rename(from, to))
        }

        fn sync_folder(&self, folder: &Path) -> io::Result<()> {
            self.step("sync the folder", Some(folder)).and_then(|()| System.sync_folder(folder))
        }
    }

    #[test]
    fn nothing_is_left_of_a_state_folder_but_what_others_put_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        for others in [true, false] {
            for item in StateItem::ALL {
                replace(&item.path(&state), b"x").expect("written");
            }
            for folder in [StateItem::ManagedCopy, StateItem::LastGood] {
                fs::remove_file(folder.path(&state)).expect("removed");
                replace(&folder.path(&state).join("copy"), b"x").expect("written");
            }
            replace(&approved_spf(&state, "partner.example"), b"x").expect("written");
            if others {
                replace(&state.join("theirs"), b"x").expect("written");
            }
            remove_all(&state);
            let left = fs::read_dir(&state).map(Iterator::count).unwrap_or(0);
            assert_eq!((left, state.exists()), (usize::from(others), others));
            _ = fs::remove_file(state.join("theirs"));
        }
    }

    /// A power cut after any step leaves one of the two files whole.
    #[test]
    fn the_file_is_durable_before_it_has_its_name_and_the_name_before_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state/file");
        let disk = Watched::default();
        replace_on(&disk, &path, &[b"on", b"e"]).expect("replaced");
        assert_eq!(
            *disk.steps.borrow(),
            ["write .file.next", "sync the file", "rename to file", "sync the folder state"]
        );
        for (step, kept) in [
            ("write", "one"),
            ("sync the file", "one"),
            ("rename to", "one"),
            ("sync the folder", "two"),
        ] {
            let disk = Watched { failing: Some(step), ..Watched::default() };
            replace_on(&disk, &path, &[b"two"]).expect_err(step);
            assert!(disk.steps.borrow().last().is_some_and(|last| last.starts_with(step)));
            assert_eq!(fs::read_to_string(&path).expect("read"), kept, "{step}");
            assert!(!next_of(&path).exists(), "{step}");
            assert!(is_next(&next_of(&path)) && !is_next(&path));
        }
    }

    /// A file is replaced whole, and nothing is left beside it, neither after a success nor
    /// after a failure; two files of one stem do not share their next version.
    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("a/b");
        let names = || {
            let entries = fs::read_dir(&inner).expect("the folder");
            let mut names: Vec<_> =
                entries.map(|entry| entry.expect("an entry").file_name()).collect();
            names.sort();
            names
        };
        for text in ["one", "two"] {
            replace(&inner.join("state.txt"), text.as_bytes()).expect("replaced");
            replace(&inner.join("state.json"), b"{}").expect("replaced");
            assert_eq!(fs::read_to_string(inner.join("state.txt")).expect("read"), text);
            assert_eq!(names(), ["state.json", "state.txt"]);
        }
        // What a crash left is replaced, and a link there is not followed.
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").expect("written");
        std::os::unix::fs::symlink(&victim, inner.join(".state.txt.next")).expect("a link");
        replace(&inner.join("state.txt"), b"three").expect("replaced");
        assert_eq!(fs::read_to_string(&victim).expect("read"), "precious");
        // A folder in the place of the file is not replaced.
        fs::create_dir(inner.join("taken")).expect("a folder");
        fs::write(inner.join("taken/file"), "").expect("written");
        replace(&inner.join("taken"), b"four").expect_err("a folder");
        assert_eq!(names(), ["state.json", "state.txt", "taken"]);
        assert_ne!(next_of(Path::new("a/x.txt")), next_of(Path::new("a/x.json")));
        assert_eq!(folder_of(Path::new("name")), Path::new("."));
    }
}
