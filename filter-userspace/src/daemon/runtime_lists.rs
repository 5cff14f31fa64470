//! Managed entries: added, removed, ended and kept, each for itself.

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use anyhow::{Result, anyhow};
use filter_common::Class;
use filter_common::abi::Managed;
use ipnet::IpNet;
use tokio::runtime::Handle;

use super::failures::refused;
use super::losses::Loss;
use crate::control::protocol::{Failure, RuntimeEntry, RuntimeList, Window};
use crate::control::server::Incoming;
use crate::io::kernel::Filter;
use crate::io::timeline::Timeline;
use crate::io::{clock, runtime_file, runtime_journal};
use crate::lists::{Lists, LoadedFile, normalise};
use crate::runtime::{Added, Addition, RuntimeEntries, Step};

/// The blocked entries that are named of those that an approval makes void.
const NAMED: usize = 3;

/// The steps of a journal, at least, before the entries are written as a whole.
const STEPS: usize = 1000;

/// The managed entries, in memory, on the disk and in the kernel.
pub(super) struct RuntimeLists {
    /// Written by the daemon's thread alone.
    entries: Arc<RwLock<RuntimeEntries>>,
    /// The steps of them that are in the journal.
    journaled: usize,
    /// What became of entries whose time is over.
    expiry: Expiry,
    /// Files that could not be used.
    losses: Vec<Loss>,
    /// The state folder.
    folder: PathBuf,
    /// Answers with long lists.
    tasks: Handle,
}

/// What became of entries whose time is over.
#[derive(Debug, PartialEq, Eq)]
enum Expiry {
    /// They are gone.
    Done,
    /// They are still in the file, and why.
    NotSaved(String),
    /// They are still active, and why.
    Failed(String),
}

impl Expiry {
    fn saved<E: Error>(saved: Result<(), E>) -> Self {
        saved.map_or_else(|error| Self::NotSaved(error.to_string()), |()| Self::Done)
    }
}

impl RuntimeLists {
    /// The entries of a start. None of them is in the journal, so that it is empty soon.
    pub(super) fn new(
        (entries, losses): (RuntimeEntries, Vec<Loss>),
        folder: PathBuf,
        tasks: Handle,
    ) -> Self {
        let entries = Arc::new(RwLock::new(entries));
        Self { entries, journaled: 0, expiry: Expiry::Done, losses, folder, tasks }
    }

    /// The entries, for other threads to read.
    pub(super) fn shared(&self) -> Arc<RwLock<RuntimeEntries>> {
        self.entries.clone()
    }

    /// The entries.
    pub(super) fn entries(&self) -> RwLockReadGuard<'_, RuntimeEntries> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn entries_mut(&self) -> RwLockWriteGuard<'_, RuntimeEntries> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers with the entries of a list, beside this thread.
    pub(super) fn answer_list(&self, list: RuntimeList, timeline: &Timeline, asked: Incoming) {
        let now = timeline.now();
        let entries = self.entries();
        let entries: Vec<_> =
            entries.list(list).filter(|entry| entry.is_in_force(now)).cloned().collect();
        let timeline = timeline.clone();
        self.tasks.spawn_blocking(move || {
            let entries = entries.into_iter().map(|entry| shown(entry, &timeline));
            asked.answer(Ok(entries.collect::<Vec<_>>()));
        });
    }

    /// Answers with a part of the entries of a list, beside this thread.
    pub(super) fn answer_part(
        &self,
        list: RuntimeList,
        window: Window,
        timeline: &Timeline,
        asked: Incoming,
    ) {
        let (entries, timeline) = (self.entries.clone(), timeline.clone());
        self.tasks.spawn_blocking(move || {
            let entries = entries.read().unwrap_or_else(PoisonError::into_inner);
            let now = timeline.now();
            let part = window.of(
                entries.list(list).filter(|entry| entry.is_in_force(now)),
                |entry| (entry.prefix, entry.note.as_deref()),
                |entry| shown(entry.clone(), &timeline),
            );
            drop(entries);
            asked.answer(Ok(part));
        });
    }

    /// Answers what approving a network makes of the blocked entries in it, beside this
    /// thread, since lists are long.
    pub(super) fn answer_shadowed(
        &self,
        prefix: IpNet,
        lists: Arc<Lists>,
        now: u64,
        asked: Incoming,
    ) {
        let entries = self.entries.clone();
        self.tasks.spawn_blocking(move || {
            let approved = normalise(prefix);
            let entries = entries.read().unwrap_or_else(PoisonError::into_inner);
            let managed = entries.list(RuntimeList::Blocked);
            let managed = managed.filter(|entry| entry.is_in_force(now)).map(|entry| entry.prefix);
            let warning = shadow(approved, lists.set.files(), managed);
            drop(entries);
            asked.answer(Ok(warning));
        });
    }

    /// Adds an entry: in memory, on the disk and in the kernel, or nowhere.
    pub(super) fn add(
        &mut self,
        addition: Addition,
        filter: &mut Filter,
        timeline: &Timeline,
    ) -> Result<RuntimeEntry, Failure> {
        let added = self.entries_mut().add(addition, timeline.now());
        let Added { entry, replaced } = added.map_err(Failure::from)?;
        let undo = replaced.map_or(Step::Remove(entry.list, entry.prefix), Step::Add);
        self.keep(&Step::Add(entry.clone()), undo, filter, timeline)?;
        Ok(shown(entry, timeline))
    }

    /// Removes an entry: everywhere or nowhere.
    pub(super) fn remove(
        &mut self,
        list: RuntimeList,
        prefix: IpNet,
        filter: &mut Filter,
        timeline: &Timeline,
    ) -> Result<RuntimeEntry, Failure> {
        let removed = self.entries_mut().remove(list, prefix);
        let entry = removed.map_err(Failure::from)?;
        self.keep(&Step::Remove(list, entry.prefix), Step::Add(entry.clone()), filter, timeline)?;
        Ok(shown(entry, timeline))
    }

    /// Keeps a step that was taken in memory, on the disk and in the kernel; or undoes it.
    fn keep(
        &mut self,
        step: &Step,
        undo: Step,
        filter: &mut Filter,
        timeline: &Timeline,
    ) -> Result<(), Failure> {
        if let Err(error) = self.journal(std::slice::from_ref(step)) {
            self.entries_mut().take(undo);
            return Err(refused(&anyhow!(
                "{}: the change was not saved: {error}",
                self.folder.display()
            )));
        }
        if let Err(error) = filter.manage(&self.changes_of(step.prefix(), timeline)) {
            // What the kernel refused must not come back at the next start.
            self.entries_mut().take(undo.clone());
            if let Err(error) = self.journal(&[undo]) {
                tracing::error!(%error, "managed entries on disk differ from the active ones");
            }
            _ = filter.manage(&self.changes_of(step.prefix(), timeline));
            return Err(refused(&error));
        }
        Ok(())
    }

    /// What the kernel is told of the entries that an entry of `prefix` matters to.
    fn changes_of(&self, prefix: IpNet, timeline: &Timeline) -> Vec<(IpNet, Option<Managed>)> {
        let entries = self.entries();
        let end = |at| timeline.boot_ns_at(at);
        let affected = entries.affected_by(prefix).into_iter();
        affected.map(|net| (net, entries.said_of(net, end))).collect()
    }

    /// Writes steps down; now and then, and where the journal cannot be written, the entries
    /// as a whole.
    fn journal(&mut self, steps: &[Step]) -> std::io::Result<()> {
        runtime_journal::append(&self.folder, steps)?;
        self.journaled += steps.len();
        if self.journaled > STEPS.max(self.entries().len() / 2) {
            self.save();
        }
        Ok(())
    }

    /// Writes the entries as a whole.
    pub(super) fn save(&mut self) {
        let folder = &self.folder;
        let saved = runtime_file::save(folder, &self.entries(), clock::unix_seconds())
            .map_err(|error| error.to_string());
        let cleared =
            saved.and_then(|()| runtime_journal::clear(folder).map_err(|error| error.to_string()));
        match cleared {
            Ok(()) => {
                self.journaled = 0;
                self.expiry = Expiry::Done;
            }
            Err(error) => tracing::error!("managed entries are not saved: {error}"),
        }
    }

    /// Removes the entries whose time is over: first here and in the kernel, which goes by their
    /// time itself, then on the disk, again and again.
    pub(super) fn expire(&mut self, filter: &mut Filter, timeline: &Timeline) {
        let now = timeline.now();
        let is_due = self.entries().next_expiry().is_some_and(|expiry| expiry <= now);
        if is_due {
            let expired = self.entries_mut().expire(now);
            let changes: Vec<_> =
                expired.iter().flat_map(|entry| self.changes_of(entry.prefix, timeline)).collect();
            if let Err(error) = filter.manage(&changes) {
                let mut entries = self.entries_mut();
                expired.into_iter().for_each(|entry| entries.take(Step::Add(entry)));
                drop(entries);
                self.expiry = Expiry::Failed(format!("{error:#}"));
                return;
            }
            for entry in &expired {
                tracing::info!(prefix = %entry.prefix, "a managed entry has expired");
            }
            let step = |entry: &RuntimeEntry| Step::Remove(entry.list, entry.prefix);
            let steps: Vec<_> = expired.iter().map(step).collect();
            self.expiry = Expiry::saved(self.journal(&steps));
        } else if self.expiry != Expiry::Done {
            let saved = runtime_file::save(&self.folder, &self.entries(), clock::unix_seconds());
            self.expiry = Expiry::saved(saved);
        }
    }

    /// The alarm, while entries whose time is over cannot be removed.
    pub(super) fn expiry_alarm(&self) -> Option<String> {
        match &self.expiry {
            Expiry::Done => None,
            Expiry::NotSaved(why) | Expiry::Failed(why) => {
                Some(format!("managed entries have expired and cannot be removed: {why}"))
            }
        }
    }

    /// The alarms of files that could not be used; `now` is in seconds of the Unix epoch.
    pub(super) fn loss_alarms(&self, now: u64) -> impl Iterator<Item = String> {
        self.losses.iter().filter_map(move |loss| loss.alarm(now))
    }
}

/// An entry with the times that the time of day has for them.
fn shown(entry: RuntimeEntry, timeline: &Timeline) -> RuntimeEntry {
    RuntimeEntry {
        added_at: timeline.shown(entry.added_at),
        expires_at: entry.expires_at.map(|at| timeline.shown(at)),
        ..entry
    }
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
            // An approval is for what others list, not for an operator's own block.
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
