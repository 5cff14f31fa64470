//! The file that keeps runtime entries across restarts: `runtime.json` in the
//! state folder.
//!
//! It is replaced as a whole or not at all, and what it holds is kept a second time: a
//! damaged one is put aside, and its copy used. Approvals that vanish would cost mail.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::files;
use super::last_good::{Copies, Counts};
use super::state::{self, StateItem};
use crate::runtime::RuntimeEntries;

/// What the copy is of.
const COPY: &str = "managed entries";

/// The most bytes that are read: more than the most entries can take.
const SIZE_LIMIT: u64 = 256 << 20;

/// Why the file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeFileError {
    /// It could not be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Its text is not what was written.
    #[error(
        "{}:{}:{}: the managed entries are damaged: {error}",
        path.display(), error.line(), error.column()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: serde_json::Error,
    },
    /// It is larger than any that was written.
    #[error(
        "{}: larger than {} MiB, which no list of managed entries is",
        path.display(), SIZE_LIMIT >> 20
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The new version could not be put in its place; the old one stands.
    #[error("{}: the managed entries were not saved: {error}", path.display())]
    Write {
        /// The file or folder that refused.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Reads the entries kept in `folder`; without a file or folder there are none.
///
/// # Errors
///
/// If the file is there but cannot be read or is damaged. It is not touched.
pub fn load(folder: &Path) -> Result<RuntimeEntries, RuntimeFileError> {
    let path = StateItem::ManagedEntries.path(folder);
    let mut text = Vec::new();
    let read = files::open(&path).and_then(|file| {
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("is not a file"));
        }
        file.take(SIZE_LIMIT + 1).read_to_end(&mut text)
    });
    match read {
        Ok(_) if text.len() as u64 > SIZE_LIMIT => Err(RuntimeFileError::TooLarge { path }),
        Ok(_) => RuntimeEntries::from_json(&text)
            .map_err(|error| RuntimeFileError::Damaged { path, error }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(RuntimeEntries::default()),
        Err(error) => Err(RuntimeFileError::Read { path, error }),
    }
}

/// Puts `entries` in the place of those kept in `folder`, durably: when it
/// returns, they survive a power cut. The folder is made (0700) if missing; the
/// file has mode 0600. `now`, in seconds of the Unix epoch, is the age of the copy.
///
/// # Errors
///
/// If anything of it fails. The entries kept before are then still there.
pub fn save(folder: &Path, entries: &RuntimeEntries, now: u64) -> Result<(), RuntimeFileError> {
    let path = StateItem::ManagedEntries.path(folder);
    let text = entries.to_json();
    state::replace(&path, text.as_bytes())
        .map_err(|error| RuntimeFileError::Write { path: path.clone(), error })?;
    // After the file, which counts: what has room for one of them has it for the file.
    let counts = Counts { total: entries.len() as u64, ..Counts::default() };
    copies(folder)
        .write(COPY, text.as_bytes(), now, counts, Vec::new())
        .map_err(|error| RuntimeFileError::Write { path, error: io::Error::other(error) })
}

/// What was kept last besides the file, and when, in seconds of the Unix epoch; none where
/// there is no copy.
///
/// # Errors
///
/// In words, if the copy is damaged too.
pub fn copy(folder: &Path) -> Result<Option<(RuntimeEntries, u64)>, String> {
    let Some((header, text)) = copies(folder).read(COPY)? else { return Ok(None) };
    let entries = RuntimeEntries::from_json(&text).map_err(|error| error.to_string())?;
    Ok(Some((entries, header.at)))
}

fn copies(folder: &Path) -> Copies {
    Copies::at(StateItem::ManagedCopy.path(folder), SIZE_LIMIT)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::runtime::{Addition, RuntimeList};

    /// The next version of the file while it is written.
    const NEXT_NAME: &str = ".runtime.json.next";

    fn some(prefix: &str) -> RuntimeEntries {
        let mut entries = RuntimeEntries::default();
        let addition = Addition {
            list: RuntimeList::Blocked,
            prefix: prefix.parse().unwrap(),
            note: Some("noted".to_owned()),
            expires_in_s: Some(60),
            permanent: false,
            force: false,
        };
        entries.add(addition, 1_700_000_000).unwrap();
        entries
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("lib/mxdp");
        assert_eq!(load(&folder).unwrap(), RuntimeEntries::default());

        for prefix in ["192.0.2.0/24", "2001:db8::/32"] {
            save(&folder, &some(prefix), 7).unwrap();
            assert_eq!(load(&folder).unwrap(), some(prefix));
        }
        let mode =
            fs::metadata(StateItem::ManagedEntries.path(&folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing but the copies is left");
        assert_eq!(copy(&folder), Ok(Some((some("2001:db8::/32"), 7))));
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_entries() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &some("192.0.2.0/24"), 7).unwrap();
        let half = some("198.51.100.0/24").to_json();
        fs::write(folder.path().join(NEXT_NAME), &half[..half.len() / 2]).unwrap();

        assert_eq!(load(folder.path()).unwrap(), some("192.0.2.0/24"));
        save(folder.path(), &some("203.0.113.0/24"), 7).unwrap();
        assert_eq!(load(folder.path()).unwrap(), some("203.0.113.0/24"));
        assert!(!folder.path().join(NEXT_NAME).exists());
    }

    #[test]
    fn a_damaged_file_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = StateItem::ManagedEntries.path(folder.path());
        let damaged = "{\"version\": 1, \"entries\": [\n{\"list\":\"bloc";
        fs::write(&path, damaged).unwrap();
        let error = load(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}:2:13: ", path.display())), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), damaged);

        fs::write(&path, "").unwrap();
        assert!(load(folder.path()).is_err(), "an emptied file is not an empty list");
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, folder.path().join(NEXT_NAME)).unwrap();
        save(folder.path(), &some("192.0.2.0/24"), 7).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(load(folder.path()).unwrap(), some("192.0.2.0/24"));
    }

    #[test]
    fn a_folder_in_the_way_is_an_error_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &some("192.0.2.0/24"), 7).unwrap();
        fs::create_dir(folder.path().join(NEXT_NAME)).unwrap();
        let error = save(folder.path(), &some("203.0.113.0/24"), 7).unwrap_err();
        assert!(matches!(error, RuntimeFileError::Write { .. }), "{error}");
        assert_eq!(load(folder.path()).unwrap(), some("192.0.2.0/24"));
    }
}
