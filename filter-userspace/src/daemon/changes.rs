//! What a reload changes, for the record of changes: keys, and entries of files.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;
use std::fs;
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

/// The longest text file whose lines are remembered, in bytes.
const REMEMBERED: u64 = 1024 * 1024;

/// The longest line that is shown, in characters.
const LINE: usize = 80;

/// What is remembered of a rule set to say what the next one changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The keys of the configuration.
    pub keys: Keys,
    /// Files that are no lists of addresses.
    texts: BTreeMap<PathBuf, Text>,
}

/// A file of recipients or senders, or another.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    /// Its entries, sorted.
    Entries(Vec<String>),
    /// Too long or no text: what tells whether it changed.
    Stamp(u64),
}

impl Remembered {
    /// What there is to remember of a configuration and its files.
    pub fn of(keys: Keys, config: &Config, stamps: &[(PathBuf, u64)]) -> Self {
        // Lists of addresses are remembered as they were compiled.
        let lists: HashSet<&Path> = config.lists.iter().map(|list| list.path.as_path()).collect();
        let countries = config.countries.source.as_ref().map(CountrySource::path);
        let mut texts = BTreeMap::new();
        for (path, stamp) in stamps {
            if *path == config.path || lists.contains(path.as_path()) {
                continue;
            }
            let is_text = countries != Some(path.as_path()) && is_of_mail(config, path);
            let text = is_text.then(|| entries(path)).flatten();
            texts.insert(path.clone(), text.map_or(Text::Stamp(*stamp), Text::Entries));
        }
        Self { keys, texts }
    }

    /// What is another in `new`, a line each; `old` and `new` lists with it.
    pub fn differences(&self, new: &Self, old_lists: &Lists, new_lists: &Lists) -> Vec<String> {
        let mut lines = flat::differences(&self.keys, &new.keys);
        lines.extend(of_lists(old_lists.set.files(), new_lists.set.files()));
        for (path, text) in &new.texts {
            let path = path.display();
            match (self.texts.get(Path::new(&path.to_string())), text) {
                (Some(old), new) if old == new => {}
                (Some(Text::Entries(old)), Text::Entries(new)) => {
                    lines.extend(of_entries(&path, old, new));
                }
                (Some(_), _) => lines.push(format!("{path}: changed")),
                (None, Text::Entries(new)) => lines.extend(of_entries(&path, &[], new)),
                (None, Text::Stamp(_)) => lines.push(format!("{path}: new")),
            }
        }
        let gone = self.texts.keys().filter(|path| !new.texts.contains_key(*path));
        lines.extend(gone.map(|path| format!("{}: no longer used", path.display())));
        if lines.len() > LINES {
            let more = lines.len() - LINES;
            lines.truncate(LINES);
            lines.push(format!("and {more} more changes"));
        }
        lines
    }
}

/// Whether a file names recipients or senders; what else there is may be a secret.
fn is_of_mail(config: &Config, path: &Path) -> bool {
    let Some(smtp) = &config.smtp else { return false };
    let recipients = smtp.domains.iter().flat_map(|domain| &domain.recipients);
    let senders = smtp.senders.approved_files.iter().chain(&smtp.senders.blocked_files);
    recipients.chain(senders).any(|known| known == path)
}

/// The lines of a file that say something, sorted.
fn entries(path: &Path) -> Option<Vec<String>> {
    if fs::metadata(path).ok()?.len() > REMEMBERED {
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
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
    use super::*;

    #[test]
    fn what_a_file_gained_and_lost_is_counted_and_named() {
        assert_eq!(of_entries(&"f", &["a", "b"], &["a", "b"]), None);
        let changed = of_entries(&"f", &["a", "b", "c"], &["b", "d"]);
        assert_eq!(changed.as_deref(), Some("f: 1 added (d), 2 removed (a, c)"));
        let many: Vec<_> = (10..40).collect();
        let added = of_entries(&"f", &[], &many).expect("a change");
        assert_eq!(added, "f: 30 added (10, 11, 12, 13, 14, 15, 16, 17, 18, 19, …)");
    }
}
