//! Managed entries: restored, added, removed, ended and kept, each for itself.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

use anyhow::{Result, anyhow};
use filter_common::Class;
use filter_common::abi::Managed;
use ipnet::IpNet;

use super::core::Daemon;
use super::refused;
use crate::control::protocol::{Failure, RuntimeEntry, RuntimeList, Window};
use crate::control::server::Incoming;
use crate::generation::fault::Fault;
use crate::io::{clock, runtime_file, runtime_journal};
use crate::lists::{LoadedFile, normalise};
use crate::runtime::{Added, Addition, RuntimeEntries, Step};

/// The blocked entries that are named of those that an approval makes void.
const NAMED: usize = 3;

/// The steps of a journal, at least, before the entries are written as a whole.
const STEPS: usize = 1000;

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
        let path = folder.join(runtime_file::FILE_NAME);
        losses.push(Loss::of(&path, &error.to_string(), &instead, used));
        entries
    });
    if let Err(error) = runtime_journal::replay(folder, &mut entries) {
        let path = folder.join(runtime_journal::FILE_NAME);
        let instead = "changes of managed entries since they were last written are missing";
        losses.push(Loss::of(&path, &error, instead, None));
    }
    for loss in &losses {
        // Now, since the alarms are looked at once the filter is attached.
        tracing::error!("{}", loss.fault.alarm(clock::unix_seconds()));
    }
    (entries, losses)
}

/// What an operator is told of an approval that makes blocked entries void, with the place of
/// both; nothing where there are none in it.
fn shadow(
    approved: IpNet,
    files: &[LoadedFile],
    managed: impl Iterator<Item = IpNet>,
) -> Option<String> {
    let listed = files
        .iter()
        .filter(|file| file.class == Class::BlockedIp)
        .flat_map(|file| file.list.entries().map(move |(net, line)| (net, Some((file, line)))));
    let mut void =
        managed.map(|net| (net, None)).chain(listed).filter(|(net, _)| approved.contains(net)).map(
            |(net, place)| match place {
                Some((file, line)) => format!("{net} ({}:{line})", file.name),
                None => format!("{net} (runtime)"),
            },
        );
    let named: Vec<_> = void.by_ref().take(NAMED).collect();
    if named.is_empty() {
        return None;
    }
    let more = match void.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "blocking {}{more} has no effect: {approved} (runtime) approves all of it, and approved \
         wins",
        named.join(", ")
    ))
}

impl Daemon {
    pub(super) fn entries(&self) -> RwLockReadGuard<'_, RuntimeEntries> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn entries_mut(&self) -> RwLockWriteGuard<'_, RuntimeEntries> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers with the entries of a list, beside this thread.
    pub(super) fn list_entries(&self, list: RuntimeList, asked: Incoming) {
        let now = self.timeline.now();
        let entries = self.entries();
        let entries: Vec<_> =
            entries.list(list).filter(|entry| entry.is_in_force(now)).cloned().collect();
        let timeline = self.timeline.clone();
        self.asynchronous.spawn_blocking(move || {
            let shown = |entry: RuntimeEntry| RuntimeEntry {
                added_at: timeline.shown(entry.added_at),
                expires_at: entry.expires_at.map(|at| timeline.shown(at)),
                ..entry
            };
            asked.answer(Ok(entries.into_iter().map(shown).collect::<Vec<_>>()));
        });
    }

    /// Answers with a part of the entries of a list, beside this thread.
    pub(super) fn list_part(&self, list: RuntimeList, window: Window, asked: Incoming) {
        let (entries, timeline) = (self.entries.clone(), self.timeline.clone());
        self.asynchronous.spawn_blocking(move || {
            let entries = entries.read().unwrap_or_else(PoisonError::into_inner);
            let now = timeline.now();
            let part = window.of(
                entries.list(list).filter(|entry| entry.is_in_force(now)),
                |entry| (entry.prefix, entry.note.as_deref()),
                |entry| RuntimeEntry {
                    added_at: timeline.shown(entry.added_at),
                    expires_at: entry.expires_at.map(|at| timeline.shown(at)),
                    ..entry.clone()
                },
            );
            drop(entries);
            asked.answer(Ok(part));
        });
    }

    /// Answers what approving a network makes of the blocked entries in it, beside this
    /// thread, since lists are long.
    pub(super) fn shadowed(&self, prefix: IpNet, asked: Incoming) {
        let (lists, entries) = (self.lists.clone(), self.entries.clone());
        let now = self.timeline.now();
        self.asynchronous.spawn_blocking(move || {
            let approved = normalise(prefix);
            let entries = entries.read().unwrap_or_else(PoisonError::into_inner);
            let managed = entries.list(RuntimeList::Blocked);
            let managed = managed.filter(|entry| entry.is_in_force(now)).map(|entry| entry.prefix);
            let warning = shadow(approved, lists.set.files(), managed);
            drop(entries);
            asked.answer(Ok(warning));
        });
    }

    /// An entry with the times that the time of day has for them.
    pub(super) fn shown(&self, entry: RuntimeEntry) -> RuntimeEntry {
        RuntimeEntry {
            added_at: self.timeline.shown(entry.added_at),
            expires_at: entry.expires_at.map(|at| self.timeline.shown(at)),
            ..entry
        }
    }

    pub(super) fn add_entry(&mut self, addition: Addition) -> Result<RuntimeEntry, Failure> {
        let added = self.entries_mut().add(addition, self.timeline.now());
        let Added { entry, replaced } = added.map_err(Failure::from)?;
        let undo = replaced.map_or(Step::Remove(entry.list, entry.prefix), Step::Add);
        self.keep(&Step::Add(entry.clone()), undo)?;
        Ok(entry)
    }

    pub(super) fn remove_entry(
        &mut self,
        list: RuntimeList,
        prefix: IpNet,
    ) -> Result<RuntimeEntry, Failure> {
        let removed = self.entries_mut().remove(list, prefix);
        let entry = removed.map_err(Failure::from)?;
        self.keep(&Step::Remove(list, entry.prefix), Step::Add(entry.clone()))?;
        Ok(entry)
    }

    /// Keeps a step that was taken in memory, on the disk and in the kernel; or undoes it.
    fn keep(&mut self, step: &Step, undo: Step) -> Result<(), Failure> {
        if let Err(error) = self.journal(std::slice::from_ref(step)) {
            self.entries_mut().take(undo);
            return Err(refused(&anyhow!(
                "{}: the change was not saved: {error}",
                self.config.state.folder.display()
            )));
        }
        if let Err(error) = self.filter.manage(&self.changes_of(step.prefix())) {
            // What the kernel refused must not come back at the next start.
            self.entries_mut().take(undo.clone());
            if let Err(error) = self.journal(&[undo]) {
                tracing::error!(%error, "managed entries on disk differ from those in force");
            }
            _ = self.filter.manage(&self.changes_of(step.prefix()));
            return Err(refused(&error));
        }
        Ok(())
    }

    /// What the kernel is told of the entries that an entry of `prefix` matters to.
    fn changes_of(&self, prefix: IpNet) -> Vec<(IpNet, Option<Managed>)> {
        let entries = self.entries();
        let end = |at| self.timeline.boot_ns_at(at);
        let affected = entries.affected_by(prefix).into_iter();
        affected.map(|net| (net, entries.said_of(net, end))).collect()
    }

    /// Writes steps down; now and then, and where the journal cannot be written, the entries
    /// as a whole.
    fn journal(&mut self, steps: &[Step]) -> std::io::Result<()> {
        runtime_journal::append(&self.config.state.folder, steps)?;
        self.journaled += steps.len();
        if self.journaled > STEPS.max(self.entries().len() / 2) {
            self.save_entries();
        }
        Ok(())
    }

    /// Writes the entries as a whole.
    pub(super) fn save_entries(&mut self) {
        let folder = &self.config.state.folder;
        let saved = runtime_file::save(folder, &self.entries(), clock::unix_seconds())
            .map_err(|error| error.to_string());
        let cleared =
            saved.and_then(|()| runtime_journal::clear(folder).map_err(|error| error.to_string()));
        match cleared {
            Ok(()) => {
                self.journaled = 0;
                self.unlapsed = None;
            }
            Err(error) => tracing::error!("managed entries are not saved: {error}"),
        }
    }

    /// Takes entries out of force whose time is over: first here and in the kernel, which
    /// goes by their time itself, then on the disk, again and again.
    pub(super) fn expire_entries(&mut self, now: u64) {
        let is_due = self.entries().next_expiry().is_some_and(|expiry| expiry <= now);
        if is_due {
            let expired = self.entries_mut().expire(now);
            let changes: Vec<_> =
                expired.iter().flat_map(|entry| self.changes_of(entry.prefix)).collect();
            if let Err(error) = self.filter.manage(&changes) {
                let mut entries = self.entries_mut();
                expired.into_iter().for_each(|entry| entries.take(Step::Add(entry)));
                drop(entries);
                self.unlapsed = Some(format!("{error:#}"));
                return;
            }
            for entry in &expired {
                tracing::info!(prefix = %entry.prefix, "a runtime entry has expired");
            }
            let step = |entry: &RuntimeEntry| Step::Remove(entry.list, entry.prefix);
            let steps: Vec<_> = expired.iter().map(step).collect();
            self.unlapsed = self.journal(&steps).err().map(|error| error.to_string());
        } else if self.unlapsed.is_some() {
            let folder = &self.config.state.folder;
            let saved = runtime_file::save(folder, &self.entries(), clock::unix_seconds())
                .map_err(|e| e.to_string());
            self.unlapsed = saved.err();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lists::ParsedList;

    #[test]
    fn an_approval_names_the_blocked_entries_that_it_makes_void() {
        let net = |text: &str| text.parse::<IpNet>().expect("a network");
        let file = |class, nets: &[(&str, u32)]| {
            let nets: Vec<_> = nets.iter().map(|(text, line)| (net(text), *line)).collect();
            let list = ParsedList::from_entries(nets.iter().map(|(net, line)| (*net, *line, "")));
            LoadedFile { name: "/lists/own".to_owned(), class, list }
        };
        let files = [
            file(Class::BlockedIp, &[("192.0.2.7/32", 3), ("198.51.0.0/16", 4)]),
            // What is no operator's own block is what an approval is for.
            file(Class::KnownSpamSource, &[("192.0.2.9/32", 1)]),
        ];
        let of = |approved: &str, managed: &[&str]| {
            shadow(net(approved), &files, managed.iter().map(|text| net(text)))
        };
        assert_eq!(
            of("192.0.2.0/24", &["192.0.2.128/25", "203.0.113.1/32"]).as_deref(),
            Some(
                "blocking 192.0.2.128/25 (runtime), 192.0.2.7/32 (/lists/own:3) has no effect: \
                 192.0.2.0/24 (runtime) approves all of it, and approved wins"
            )
        );
        // An exception to a wider block is what approvals are for.
        assert_eq!(of("198.51.100.0/24", &["198.51.0.0/16"]), None);
        let many = ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32", "192.0.2.4/32"];
        let said = of("192.0.2.0/24", &many).expect("a warning");
        assert!(said.contains("192.0.2.3/32 (runtime) and 2 more has no effect"), "{said}");
    }
}
