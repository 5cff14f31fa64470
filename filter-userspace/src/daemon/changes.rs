//! What a reload changes, for the record of changes: keys, and entries of files.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use super::build::Lists;
use crate::config::flat::{self, Keys};
use crate::config::{Config, CountrySource};
use crate::lists::LoadedFile;
use crate::text::harmless;

/// The entries that are named of each file, added and removed.
const NAMED: usize = 10;

/// The lines of changes that are kept of a reload.
const LINES: usize = 50;

/// The longest text whose lines are remembered, in bytes.
const REMEMBERED: usize = 1024 * 1024;

/// The longest line that is shown, in characters.
const LINE: usize = 80;

/// What is remembered of a rule set to say what the next one changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The keys of the configuration.
    pub keys: Keys,
    /// What is used of files and directories that are no lists of addresses.
    contents: Contents,
}

/// What is used of sources that are no lists of addresses: what was read now, or, where that
/// is held back, what was read before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// By the key of the source, with the name that an operator knows.
    by_source: BTreeMap<String, (String, Content)>,
}

/// What a source says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    /// Its entries, sorted.
    Entries(Vec<String>),
    /// Too long, no text, or secret: what tells whether it changed.
    Stamp(u64),
}

impl Contents {
    /// Takes note of a text whose lines may be shown.
    pub fn add_lines(&mut self, key: String, name: String, bytes: &[u8]) {
        match entries(bytes) {
            Some(entries) => _ = self.by_source.insert(key, (name, Content::Entries(entries))),
            None => self.add_whole(key, name, bytes),
        }
    }

    /// Takes note of what shows only whether it changed.
    pub fn add_whole(&mut self, key: String, name: String, bytes: &[u8]) {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        self.by_source.insert(key, (name, Content::Stamp(hasher.finish())));
    }

    /// What is another in `new`, a line each.
    fn differences(&self, new: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (key, (name, content)) in &new.by_source {
            match (self.by_source.get(key).map(|(_, old)| old), content) {
                (Some(old), new) if old == new => {}
                (Some(Content::Entries(old)), Content::Entries(new)) => {
                    lines.extend(of_entries(name, old, new));
                }
                (Some(_), _) => lines.push(format!("{name}: changed")),
                (None, Content::Entries(new)) => lines.extend(of_entries(name, &[], new)),
                (None, Content::Stamp(_)) => lines.push(format!("{name}: new")),
            }
        }
        let gone = self.by_source.iter().filter(|(key, _)| !new.by_source.contains_key(*key));
        lines.extend(gone.map(|(_, (name, _))| format!("{name}: no longer used")));
        lines
    }
}

impl Remembered {
    /// What there is to remember of a configuration, of what was gathered for it, and of its
    /// other files: certificates and keys.
    pub fn of(
        keys: Keys,
        config: &Config,
        mut contents: Contents,
        stamps: &[(PathBuf, u64)],
    ) -> Self {
        // What was gathered is known by what is used of it, and not by what lies on the disk.
        let gathered = gathered_files(config);
        for (path, stamp) in stamps.iter().filter(|(path, _)| !gathered.contains(path.as_path())) {
            let name = path.display().to_string();
            contents.by_source.insert(name.clone(), (name, Content::Stamp(*stamp)));
        }
        Self { keys, contents }
    }

    /// What is another in `new`, a line each; `old` and `new` lists with it.
    pub fn differences(&self, new: &Self, old_lists: &Lists, new_lists: &Lists) -> Vec<String> {
        let mut lines = flat::differences(&self.keys, &new.keys);
        lines.extend(of_lists(old_lists.set.files(), new_lists.set.files()));
        lines.extend(self.contents.differences(&new.contents));
        if lines.len() > LINES {
            let more = lines.len() - LINES;
            lines.truncate(LINES);
            lines.push(format!("and {more} more changes"));
        }
        lines
    }
}

/// The configuration itself, and the files that are gathered for it.
fn gathered_files(config: &Config) -> HashSet<&Path> {
    let mut files: HashSet<&Path> = config.lists.iter().map(|list| list.path.as_path()).collect();
    files.insert(&config.path);
    files.extend(config.countries.source.as_ref().map(CountrySource::path));
    if let Some(smtp) = &config.smtp {
        let recipients = smtp.domains.iter().flat_map(|domain| &domain.recipients);
        let senders = smtp.senders.approved_files.iter().chain(&smtp.senders.blocked_files);
        files.extend(recipients.chain(senders).map(PathBuf::as_path));
    }
    files
}

/// The lines of a text that say something, sorted.
fn entries(bytes: &[u8]) -> Option<Vec<String>> {
    if bytes.len() > REMEMBERED {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort_unstable();
    lines.dedup();
    Some(lines)
}

/// What lists gained and lost, a line a file.
fn of_lists(old: &[LoadedFile], new: &[LoadedFile]) -> Vec<String> {
    let same =
        |one: &&LoadedFile, other: &LoadedFile| one.name == other.name && one.class == other.class;
    let nets = |file: Option<&LoadedFile>| -> Vec<_> {
        let mut nets: Vec<_> =
            file.into_iter().flat_map(|file| file.list.entries().map(|(net, _)| net)).collect();
        nets.sort_unstable();
        nets.dedup();
        nets
    };
    let mut lines = Vec::new();
    for file in new {
        let before = old.iter().find(|known| same(known, file));
        lines.extend(of_entries(&file.name, &nets(before), &nets(Some(file))));
    }
    for file in old.iter().filter(|file| !new.iter().any(|known| same(&known, file))) {
        lines.extend(of_entries(&file.name, &nets(Some(file)), &[]));
    }
    lines
}

/// What one file gained and lost; both are sorted and have nothing twice.
fn of_entries<T: Ord + Display>(name: &impl Display, old: &[T], new: &[T]) -> Option<String> {
    let (mut added, mut removed) = (Named::default(), Named::default());
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (Some(one), Some(other)) if one == other => {
                old.next();
                new.next();
            }
            (Some(one), Some(other)) if one < other => removed.add(old.next()),
            (_, Some(_)) => added.add(new.next()),
            (Some(_), None) => removed.add(old.next()),
            (None, None) => break,
        }
    }
    let parts: Vec<_> =
        [added.text("added"), removed.text("removed")].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("{name}: {}", parts.join(", ")))
}

/// Entries: how many, and the first of them.
#[derive(Default)]
struct Named {
    count: usize,
    first: Vec<String>,
}

impl Named {
    fn add(&mut self, entry: Option<&impl Display>) {
        let Some(entry) = entry else { return };
        self.count += 1;
        if self.first.len() < NAMED {
            let text: String = entry.to_string().chars().take(LINE).collect();
            self.first.push(harmless(&text, |_| false).into_owned());
        }
    }

    fn text(&self, what: &str) -> Option<String> {
        let more = if self.count > self.first.len() { ", …" } else { "" };
        (self.count > 0).then(|| format!("{} {what} ({}{more})", self.count, self.first.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::daemon::build;
    use crate::daemon::gather::{Gathering, Tolerance};
    use crate::io::last_good::Copies;

    #[test]
    fn what_a_file_gained_and_lost_is_counted_and_named() {
        assert_eq!(of_entries(&"f", &["a", "b"], &["a", "b"]), None);
        let changed = of_entries(&"f", &["a", "b", "c"], &["b", "d"]);
        assert_eq!(changed.as_deref(), Some("f: 1 added (d), 2 removed (a, c)"));
        let many: Vec<_> = (10..40).collect();
        let added = of_entries(&"f", &[], &many).expect("a change");
        assert_eq!(added, "f: 30 added (10, 11, 12, 13, 14, 15, 16, 17, 18, 19, …)");
    }

    #[test]
    fn what_is_used_of_a_source_is_compared() {
        let of = |recipients: &[u8], countries: &[u8]| {
            let mut contents = Contents::default();
            contents.add_lines("ldap:people".into(), "ldap:people".into(), recipients);
            contents.add_whole("country data /cc".into(), "/cc".into(), countries);
            contents
        };
        let old = of(b"bob@a.example\n", b"x");
        assert_eq!(old.differences(&old), [""; 0]);
        let more = of(b"bob@a.example\nann@a.example\n", b"x");
        assert_eq!(old.differences(&more), ["ldap:people: 1 added (ann@a.example)"]);
        assert_eq!(old.differences(&of(b"bob@a.example\n", b"y")), ["/cc: changed"]);
        let none = Contents::default();
        assert_eq!(old.differences(&none), ["/cc: no longer used", "ldap:people: no longer used"]);
        assert_eq!(none.differences(&old), ["/cc: new", "ldap:people: 1 added (bob@a.example)"]);
    }

    /// A source whose content is held back has not changed, whatever lies on the disk.
    #[test]
    fn what_is_held_back_has_not_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mxdp.toml");
        let write = |name: &str, text: &[u8]| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        std::fs::create_dir(folder.path().join("cc")).expect("a folder");
        write("cc/de.cidr", b"192.0.2.0/25\n");
        write("cc/at.cidr", b"192.0.2.128/25\n");
        write("r.txt", b"ann@a.example\nbob@a.example\n");
        write("s.txt", b"x@b.example\n");
        write(
            "mxdp.toml",
            format!(
                "[filter]\ninterfaces = [\"lo\"]\n[state]\nfolder = \"{0}/state\"\n\
                 [blocked]\ncountries = [\"DE\"]\n[countries]\nfolder = \"cc\"\n\
                 [listen]\nsmtp = [\"127.0.0.1:25\"]\n[senders]\nblocked_files = [\"s.txt\"]\n\
                 [[domain]]\nnames = [\"a.example\"]\nbackend = \"m\"\n\
                 recipients = [\"r.txt\"]\n\
                 [[backend]]\nname = \"m\"\nservers = [\"127.0.0.1:2500\"]\n",
                folder.path().display()
            )
            .as_bytes(),
        );
        let read = |active: &BTreeSet<String>| {
            let gathering = |config: &Config| {
                Ok(Gathering::new(Tolerance::LastGood {
                    copies: Copies::new(&config.state.folder, config.limits.file_bytes),
                    accept: &[],
                    active,
                    now: 1,
                }))
            };
            let read = build::read(&path, |config| config, gathering)
                .unwrap_or_else(|why| panic!("{why:?}"));
            let (sources, faults) = (read.loaded.sources.clone(), read.loaded.faults.len());
            let contents = read.loaded.contents;
            (
                Remembered::of(read.keys, &read.config, contents, &[]),
                read.loaded.lists,
                sources,
                faults,
            )
        };
        let (before, lists, active, faults) = read(&BTreeSet::new());
        assert_eq!(faults, 0);
        // Cut, emptied, and without the country that is blocked.
        write("r.txt", b"<html>\n");
        write("s.txt", b"");
        std::fs::remove_file(folder.path().join("cc/de.cidr")).expect("removed");
        let (held, held_lists, _, faults) = read(&active);
        assert_eq!(faults, 3);
        assert_eq!(before.differences(&held, &lists, &held_lists), [""; 0]);
        write("r.txt", b"ann@a.example\nbob@a.example\neve@a.example\n");
        let (mended, mended_lists, _, _) = read(&active);
        let said = held.differences(&mended, &held_lists, &mended_lists);
        assert!(said.len() == 1 && said[0].ends_with("r.txt: 1 added (eve@a.example)"), "{said:?}");
    }
}
