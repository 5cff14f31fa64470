//! Reading files of a bounded size, and replacing them whole.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
///
/// In words for an operator, with the file's name: it is missing, unreadable, a
/// folder or a device, or too large.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let name = path.display();
    let file = open(path).map_err(|error| format!("{name}: cannot be read: {error}"))?;
    let metadata = file.metadata().map_err(|error| format!("{name}: {error}"))?;
    if !metadata.is_file() {
        return Err(format!("{name}: is not a file"));
    }
    let too_large = || {
        format!("{name}: is larger than {limit} bytes; raise limits.file_bytes if that is right")
    };
    if metadata.len() > limit {
        return Err(too_large());
    }
    let capacity = usize::try_from(metadata.len()).map_err(|_| too_large())?;
    let mut bytes = Vec::with_capacity(capacity + 1);
    // The file may grow while it is read.
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("{name}: cannot be read: {error}"))?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
    }
    Ok(bytes)
}

/// The files of a folder and of its folders, two levels deep, as (path relative
/// to the folder, path), sorted; at most `limit`.
///
/// # Errors
///
/// In words for an operator, with the folder's name.
pub fn list(folder: &Path, limit: usize) -> Result<Vec<(String, PathBuf)>, String> {
    let mut found = Vec::new();
    collect(folder, "", 2, limit, &mut found)?;
    found.sort();
    Ok(found)
}

/// The folders that [`list`] does not go into, as paths relative to the folder with a `/`
/// at the end, sorted; at most `limit`, and none of what cannot be read.
#[must_use]
pub fn deeper(folder: &Path, limit: usize) -> Vec<String> {
    let folders = |path: &Path| -> Vec<(String, PathBuf)> {
        let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
        let paths = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
        let named = paths.filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some((name, path))
        });
        named.collect()
    };
    let mut found: Vec<_> = folders(folder)
        .into_iter()
        .flat_map(|(name, path)| {
            folders(&path).into_iter().map(move |(inner, _)| format!("{name}/{inner}/"))
        })
        .take(limit)
        .collect();
    found.sort();
    found
}

fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    limit: usize,
    found: &mut Vec<(String, PathBuf)>,
) -> Result<(), String> {
    let name = folder.display();
    let entries = fs::read_dir(folder).map_err(|error| format!("{name}: {error}"))?;
    for entry in entries {
        let path = entry.map_err(|error| format!("{name}: {error}"))?.path();
        let Some(file) = path.file_name().and_then(|file| file.to_str()) else {
            continue;
        };
        let relative = format!("{prefix}{file}");
        if path.is_dir() {
            if depth > 1 {
                collect(&path, &format!("{relative}/"), depth - 1, limit, found)?;
            }
        } else {
            if found.len() >= limit {
                return Err(format!("{name}: holds more than {limit} files"));
            }
            found.push((relative, path));
        }
    }
    Ok(())
}

/// Opens a file to be read. What is no file, a FIFO say, is not waited for.
///
/// # Errors
///
/// Those of the system.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
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
    let folder = folder_of(path);
    make_folder(folder)?;
    let next = next_of(path);
    let written = write_new(&next, pieces).and_then(|()| fs::rename(&next, path));
    if written.is_err() {
        // Half a file does not help a full disk. The first error counts.
        _ = fs::remove_file(&next);
    }
    written?;
    sync_folder(folder)
}

/// Makes the names of a folder durable: files that were created, renamed or removed in it.
///
/// # Errors
///
/// Those of the system.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
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
    name.push(".next");
    path.with_file_name(name)
}

fn write_new(path: &Path, pieces: &[&[u8]]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // `create_new` follows no link that someone put there in between.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    pieces.iter().try_for_each(|piece| file.write_all(piece))?;
    // On the disk before it has the name: else a power cut may leave an empty file.
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_up_to_the_limit_is_read_and_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("list");
        fs::write(&path, b"12345").expect("written");
        assert_eq!(read(&path, 5).as_deref(), Ok(b"12345".as_slice()));
        assert!(read(&path, 4).expect_err("too large").contains("larger than 4 bytes"));
        assert!(read(folder.path(), 5).expect_err("a folder").contains("is not a file"));
        assert!(read(Path::new("/dev/zero"), 5).expect_err("a device").contains("is not a file"));
        let missing = read(&folder.path().join("none"), 5).expect_err("missing");
        assert!(missing.contains("none: cannot be read"), "{missing}");
    }

    #[test]
    fn a_folder_is_listed_two_levels_deep() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("de/deeper")).expect("folders");
        for file in ["at.cidr", "de/ipv4.txt", "de/deeper/no.txt"] {
            fs::write(folder.path().join(file), b"").expect("written");
        }
        let names = |limit| {
            list(folder.path(), limit)
                .map(|files| files.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        assert_eq!(names(9), Ok(vec!["at.cidr".to_owned(), "de/ipv4.txt".to_owned()]));
        assert!(names(1).is_err());
        assert_eq!(deeper(folder.path(), 9), ["de/deeper/"]);
        assert!(deeper(&folder.path().join("none"), 9).is_empty());
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
