//! Files of managed entries that cannot be used: put aside at the start, and an alarm.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::generation::fault::Fault;
use crate::io::state::StateItem;
use crate::io::{clock, runtime_file, runtime_journal};
use crate::runtime::RuntimeEntries;

/// A file of managed entries that cannot be used: an alarm for as long as it lies aside, so
/// that somebody looks at it.
pub(super) struct Loss {
    fault: Fault,
    /// Where it was put; none where it could not be.
    aside: Option<PathBuf>,
}

impl Loss {
    /// Puts a file aside that cannot be used, for `why`; `instead` says what is used.
    fn of(path: &Path, why: &str, instead: &str, used: Option<u64>) -> Self {
        let mut name = OsString::from(path);
        name.push(".damaged");
        let aside = PathBuf::from(name);
        let moved = fs::rename(path, &aside);
        let place = match &moved {
            Ok(()) => format!(
                "what was read lies in {}: correct it and put it back, or remove it, which ends \
                 this alarm",
                aside.display()
            ),
            Err(error) => format!("{} cannot be put aside: {error}", path.display()),
        };
        let text = format!("{why}; {place}; {instead}");
        let fault = used.map_or_else(|| Fault::new(&text), |at| Fault::since(&text, at));
        Self { fault, aside: moved.is_ok().then_some(aside) }
    }

    /// The alarm, while there is one.
    pub(super) fn alarm(&self, now: u64) -> Option<String> {
        let is_gone = self.aside.as_ref().is_some_and(|aside| !aside.exists());
        (!is_gone).then(|| self.fault.alarm(now))
    }
}

/// The managed entries that a state folder has. Whatever is wrong with its files, everything
/// else goes on: the start of a mail host does not wait for somebody who corrects them.
pub(super) fn restore(folder: &Path) -> (RuntimeEntries, Vec<Loss>) {
    let mut losses = Vec::new();
    let mut entries = runtime_file::load(folder).unwrap_or_else(|error| {
        let (entries, instead, used) = match runtime_file::copy(folder) {
            Ok(Some((entries, at))) => (entries, "their copy is used".to_owned(), Some(at)),
            Ok(None) => (RuntimeEntries::default(), "there is no copy of them".to_owned(), None),
            Err(error) => (RuntimeEntries::default(), format!("nor can {error}"), None),
        };
        let path = StateItem::ManagedEntries.path(folder);
        losses.push(Loss::of(&path, &error.to_string(), &instead, used));
        entries
    });
    if let Err(error) = runtime_journal::replay(folder, &mut entries) {
        let path = StateItem::ManagedJournal.path(folder);
        let instead = "changes of managed entries since they were last written are missing";
        losses.push(Loss::of(&path, &error, instead, None));
    }
    for loss in &losses {
        // Now, since alarms are first raised when the filter is attached.
        tracing::error!("{}", loss.fault.alarm(clock::unix_seconds()));
    }
    (entries, losses)
}
