//! Reading files of a bounded size, and listing folders. Files are replaced by
//! [`super::state::replace`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
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

/// Opens a file to be read. What is not a file, such as a FIFO, is not waited for.
///
/// # Errors
///
/// Those of the system.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
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
}
