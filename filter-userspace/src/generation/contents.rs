//! What is used of files and directories that are not lists of addresses, and how two of
//! them differ.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::text::escape_untrusted;

/// The entries that are named of each file, added and removed.
const NAMED: usize = 10;

/// The longest text whose lines are remembered, in bytes.
const REMEMBERED: usize = 1024 * 1024;

/// The longest line that is shown, in characters.
const LINE: usize = 80;

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

    /// Takes note of a file that is known by its stamp alone.
    pub fn add_stamp(&mut self, name: String, stamp: u64) {
        self.by_source.insert(name.clone(), (name, Content::Stamp(stamp)));
    }

    /// What is another in `new`, a line each.
    #[must_use]
    pub fn differences(&self, new: &Self) -> Vec<String> {
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

/// What one file gained and lost; both are sorted and have nothing twice.
pub fn of_entries<T: Ord + Display>(name: &impl Display, old: &[T], new: &[T]) -> Option<String> {
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
            self.first.push(escape_untrusted(&text, |_| false).into_owned());
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
}
