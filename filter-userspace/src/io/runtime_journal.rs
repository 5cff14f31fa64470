//! The changes of managed entries since `runtime.json` was written: `runtime.journal` in the
//! state folder, a step a line. So one more entry costs no more than itself.
//!
//! Steps may be taken twice: what is in the journal and in `runtime.json` too, since the
//! daemon ended between the two, changes nothing.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::files;
use super::state::{self, StateItem};
use crate::runtime::{RuntimeEntries, Step};

/// The most bytes that are read.
const SIZE_LIMIT: u64 = 256 << 20;

/// Takes the steps that are kept in `folder`, and says how many there are.
///
/// # Errors
///
/// In words, if the file cannot be read. A line that is not as it was written is said in the
/// log and costs itself alone: the last may be half a line after a power cut.
pub fn replay(folder: &Path, entries: &mut RuntimeEntries) -> Result<usize, String> {
    let path = StateItem::ManagedJournal.path(folder);
    if !path.exists() {
        return Ok(0);
    }
    let bytes = files::read(&path, SIZE_LIMIT)?;
    let mut steps = 0;
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if line.is_empty() {
            continue;
        }
        steps += 1;
        match Step::from_line(line) {
            Ok(step) => entries.take(step),
            Err(error) => {
                tracing::error!("{}:{number}: damaged, and skipped: {error}", path.display());
            }
        }
    }
    Ok(steps)
}

/// Adds steps to those in `folder`, durably.
///
/// # Errors
///
/// If they cannot be written; some of them may be kept then.
pub fn append(folder: &Path, steps: &[Step]) -> io::Result<()> {
    let mut text = String::new();
    for step in steps {
        text.push_str(&step.to_line().map_err(io::Error::other)?);
        text.push('\n');
    }
    state::make_folder(folder)?;
    let path = StateItem::ManagedJournal.path(folder);
    let is_new = !path.exists();
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
    let length = file.metadata()?.len();
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
    if let Err(error) = written {
        // Half a line must not become the beginning of the next.
        _ = file.set_len(length);
        return Err(error);
    }
    if is_new { state::sync_folder(folder) } else { Ok(()) }
}

/// Removes the steps: `runtime.json` has them.
///
/// # Errors
///
/// If the file cannot be removed.
pub fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_file(StateItem::ManagedJournal.path(folder)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{RuntimeEntry, RuntimeList};

    fn entry(prefix: &str) -> RuntimeEntry {
        RuntimeEntry {
            list: RuntimeList::Blocked,
            prefix: prefix.parse().unwrap(),
            note: Some("a \"note\"".to_owned()),
            added_at: 1,
            expires_at: Some(2),
        }
    }

    #[test]
    fn steps_are_taken_again_and_a_damaged_line_costs_itself() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new");
        let (first, second) = (entry("192.0.2.0/24"), entry("2001:db8::/32"));
        append(&folder, &[Step::Add(first.clone()), Step::Add(second.clone())]).unwrap();
        append(&folder, &[Step::Remove(first.list, first.prefix)]).unwrap();
        let path = StateItem::ManagedJournal.path(&folder);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}{{\"add\":{{\"li")).unwrap();
        for _ in 0..2 {
            let mut entries = RuntimeEntries::default();
            entries.take(Step::Add(first.clone()));
            assert_eq!(replay(&folder, &mut entries), Ok(4));
            assert_eq!(entries.iter().collect::<Vec<_>>(), [&second]);
        }
        clear(&folder).unwrap();
        clear(&folder).unwrap();
        assert_eq!(replay(&folder, &mut RuntimeEntries::default()), Ok(0));
    }
}
