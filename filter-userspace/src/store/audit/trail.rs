//! The files of the audit trail: their names, their order, and their lines.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::io::files;
use crate::record::Change;

/// The folder of the files, in that of the records.
pub(super) const FOLDER: &str = "audit";

/// Maximum number of bytes of one file.
pub(super) const FILE: u64 = 8 << 20;

/// The bytes at the end of a file among which its last line begins.
const TAIL: u64 = 256 << 10;

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// The file that begins at a time.
pub(super) fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{first:016x}{SUFFIX}"))
}

/// When a file of the audit trail begins; none if it is something else.
fn first_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    u64::from_str_radix(name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?, 16).ok()
}

/// Removes the audit trail in a folder of records.
pub(in crate::store) fn remove_all(folder: &Path) {
    let folder = folder.join(FOLDER);
    for (_, path) in list(&folder).unwrap_or_default() {
        // What cannot be removed stays, and the folder with it.
        _ = fs::remove_file(path);
    }
    _ = fs::remove_dir(folder);
}

/// The files, the oldest first.
pub(super) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        files.extend(first_of(&path).map(|first| (first, path)));
    }
    files.sort();
    Ok(files)
}

/// Opens a file to append, after its last whole line: a crash may have left half a one.
pub(super) fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    let size = file.metadata()?.len();
    let tail = size.min(TAIL);
    file.seek(SeekFrom::Start(size - tail))?;
    let mut text = Vec::new();
    (&file).take(tail).read_to_end(&mut text)?;
    let half = text.iter().rev().take_while(|byte| **byte != b'\n').count() as u64;
    if half > 0 {
        file.set_len(size - half)?;
    }
    Ok((file, size - half))
}

/// The changes of a file, the oldest first, and how many lines are none. A last line without
/// an end is being written.
pub(super) fn read(path: &Path) -> io::Result<(Vec<Change>, usize)> {
    let mut text = Vec::new();
    // More than any file has that mxdp wrote.
    files::open(path)?.take(2 * FILE).read_to_end(&mut text)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut unreadable = 0;
    let mut changes = Vec::new();
    for line in text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(change) => changes.push(change),
            Err(_) => unreadable += 1,
        }
    }
    Ok((changes, unreadable))
}
