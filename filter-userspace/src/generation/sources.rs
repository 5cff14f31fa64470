//! Lists, databases, recipients and senders, each by itself: what a source says now, or,
//! where that is bad, empty, cut or suddenly small, what it last said well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::contents::Contents;
use crate::io::last_good::{Copies, Counts, Header};
use crate::record::when;

/// Parts with fewer entries than this count as lost only when all of them are gone.
const FEW: u64 = 20;

/// What becomes of a source that fails.
pub enum Tolerance<'a> {
    /// It is an error: for `mxdp check`, and for questions without a daemon.
    Strict,
    /// Its last good content is used.
    LastGood {
        /// Where that is kept.
        copies: Copies,
        /// The sources that are accepted however little they have left.
        accept: &'a [String],
        /// The sources of the rule set that is active: without a copy of one of these,
        /// the active rule set stays.
        active: &'a BTreeSet<String>,
        /// Seconds of the Unix epoch.
        now: u64,
    },
}

/// A fault of a source, which is an alarm while it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, where, and what is used instead.
    text: String,
    /// When the content that is used instead was read: seconds of the Unix epoch.
    used: Option<u64>,
}

impl Fault {
    /// A fault with nothing to say about time.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), used: None }
    }

    /// A fault for which something is used that was read at `used`, in seconds of the Unix
    /// epoch.
    pub fn since(text: impl Into<String>, used: u64) -> Self {
        Self { text: text.into(), used: Some(used) }
    }

    /// The alarm, with the age of what is used at `now`, in seconds of the Unix epoch.
    #[must_use]
    pub fn alarm(&self, now: u64) -> String {
        match self.used {
            None => self.text.clone(),
            Some(at) => format!("{}{AGE}{} old", self.text, age(now.saturating_sub(at))),
        }
    }
}

/// What stands before the age in an alarm.
const AGE: &str = ", now ";

/// An alarm without the age in it: the same as long as the fault is.
#[must_use]
pub fn without_age(alarm: &str) -> &str {
    match alarm.rsplit_once(AGE) {
        Some((text, age)) if age.ends_with(" old") => text,
        _ => alarm,
    }
}

/// In whole hours and days, so that it changes seldom.
fn age(seconds: u64) -> String {
    match (seconds / 3600, seconds / 86_400) {
        (0, _) => "less than an hour".to_owned(),
        (1, _) => "1 hour".to_owned(),
        (hours @ 2..48, _) => format!("{hours} hours"),
        (_, days) => format!("{days} days"),
    }
}

/// A source, as an operator knows it.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// What it is for; the same file may be several things.
    pub kind: &'static str,
    /// The file or folder.
    pub path: &'a Path,
    /// Where the configuration names it, ` (…)`.
    pub place: String,
    /// Whether it may become as small as it likes.
    pub may_shrink: bool,
    /// What follows where nothing of it is known.
    pub without: &'static str,
    /// How the record of changes knows what it says.
    pub told: Told,
}

/// How the record of changes knows what a source says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// By what is compiled of it.
    Compiled,
    /// By its lines.
    Lines,
    /// As a whole.
    Whole,
}

impl Source<'_> {
    /// The name that no other source has.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{} {}", self.kind, self.path.display())
    }
}

/// What was gathered, and what there is to say about it.
pub struct Gathering<'a> {
    tolerance: Tolerance<'a>,
    /// What keeps the rule set from being made, a line each.
    pub errors: Vec<String>,
    /// What an operator is warned of.
    pub warnings: Vec<String>,
    /// Faults of sources that something else is used for.
    pub faults: Vec<Fault>,
    /// The sources that something was read of.
    pub sources: BTreeSet<String>,
    /// What is used of sources that are no lists of addresses.
    pub contents: Contents,
    /// The sources that are named, whatever came of them.
    named: BTreeSet<String>,
    /// The files that may be accepted, and whether they were asked to be.
    files: BTreeSet<PathBuf>,
}

impl<'a> Gathering<'a> {
    /// Nothing yet.
    #[must_use]
    pub fn new(tolerance: Tolerance<'a>) -> Self {
        Self {
            tolerance,
            errors: Vec::new(),
            warnings: Vec::new(),
            faults: Vec::new(),
            sources: BTreeSet::new(),
            contents: Contents::default(),
            named: BTreeSet::new(),
            files: BTreeSet::new(),
        }
    }

    /// Notes a fault: an error, or where faults are tolerated an alarm.
    pub fn fault(&mut self, text: String, instead: &str) {
        match self.tolerance {
            Tolerance::Strict => self.errors.push(text),
            Tolerance::LastGood { .. } => {
                self.faults.push(Fault::new(format!("{}; {instead}", first_lines(&text))));
            }
        }
    }

    /// Notes what is no error and needs an operator all the same.
    pub fn warn_and_alarm(&mut self, text: String) {
        if matches!(self.tolerance, Tolerance::LastGood { .. }) {
            self.faults.push(Fault::new(text.clone()));
        }
        self.warnings.push(text);
    }

    /// Names a source that keeps its copies itself.
    pub fn keep(&mut self, key: String) {
        self.named.insert(key);
    }

    /// Takes a source: what it says now, or what it last said well. None where nothing of
    /// it is known; that is an alarm then, or an error.
    pub fn take<T>(
        &mut self,
        source: &Source<'_>,
        read: impl Fn() -> Result<Vec<u8>, String>,
        parse: impl Fn(&[u8]) -> Result<(T, Counts), String>,
    ) -> Option<T> {
        let key = source.key();
        self.named.insert(key.clone());
        self.files.insert(source.path.to_owned());
        let placed = |error: String| format!("{error}{}", source.place);
        let said = read().map_err(placed).and_then(|bytes| {
            let (parsed, counts) = parse(&bytes)?;
            Ok((bytes, parsed, counts))
        });
        let problem = match said {
            Ok((bytes, parsed, counts)) => {
                let before = self.copy(&key);
                match self.compare(source, &before, &counts) {
                    None => {
                        self.keep_copy(&key, before, &bytes, counts);
                        self.uses(source, &bytes);
                        self.sources.insert(key);
                        return Some(parsed);
                    }
                    Some(lost) => lost,
                }
            }
            Err(error) => error,
        };
        let taken = self.fall_back(source, &key, problem, parse);
        if taken.is_some() {
            self.sources.insert(key);
        }
        taken
    }

    /// Notes which content of a source is used, be it what it says now or its last good one.
    fn uses(&mut self, source: &Source<'_>, bytes: &[u8]) {
        let name = source.path.display().to_string();
        match source.told {
            Told::Compiled => {}
            Told::Lines => self.contents.add_lines(source.key(), name, bytes),
            Told::Whole => self.contents.add_whole(source.key(), name, bytes),
        }
    }

    /// What is known of the copy of a source.
    fn copy(&self, key: &str) -> Result<Option<Header>, String> {
        match &self.tolerance {
            Tolerance::Strict => Ok(None),
            Tolerance::LastGood { copies, .. } => copies.header(key),
        }
    }

    /// What speaks against a content that has so many entries.
    fn compare(
        &self,
        source: &Source<'_>,
        before: &Result<Option<Header>, String>,
        counts: &Counts,
    ) -> Option<String> {
        let Tolerance::LastGood { accept, .. } = &self.tolerance else { return None };
        if source.may_shrink || accept.iter().any(|name| is_named(source.path, name)) {
            return None;
        }
        // A copy that is damaged says nothing; it is made anew.
        let before = before.as_ref().ok()?.as_ref()?;
        let lost = lost(counts, &before.counts)?;
        let name = source.path.display();
        Some(format!("{name}: {lost}; if that is meant: mxdp reload --accept {name}"))
    }

    fn keep_copy(
        &mut self,
        key: &str,
        before: Result<Option<Header>, String>,
        bytes: &[u8],
        counts: Counts,
    ) {
        let Tolerance::LastGood { copies, now, .. } = &self.tolerance else { return };
        let kept = match before {
            Ok(Some(header)) if header.is_of(bytes) && header.counts == counts => return,
            Ok(_) => Ok(()),
            Err(damaged) => Err(format!("{damaged}; it was made anew")),
        };
        let written = copies.write(key, bytes, *now, counts, Vec::new());
        let what = written
            .map_err(|error| format!("the last good content of {key} cannot be kept: {error}"));
        if let Err(what) = what {
            self.faults.push(Fault::new(what));
        } else if let Err(damaged) = kept {
            self.warnings.push(damaged);
        }
    }

    fn fall_back<T>(
        &mut self,
        source: &Source<'_>,
        key: &str,
        problem: String,
        parse: impl Fn(&[u8]) -> Result<(T, Counts), String>,
    ) -> Option<T> {
        let Tolerance::LastGood { copies, active, .. } = &self.tolerance else {
            self.errors.push(problem);
            return None;
        };
        let kept = match copies.read(key) {
            Ok(None) => Err("there is no last good content".to_owned()),
            Ok(Some((header, bytes))) => {
                parse(&bytes).map(|(parsed, _)| (header, bytes, parsed)).map_err(|error| {
                    format!("its last good content cannot be used: {}", first_lines(&error))
                })
            }
            Err(error) => Err(format!("its last good content cannot be used: {error}")),
        };
        tracing::warn!("{problem}");
        match kept {
            Ok((header, bytes, parsed)) => {
                self.uses(source, &bytes);
                let entries = header.counts.total;
                self.faults.push(Fault {
                    text: format!(
                        "{}; its last good content of {} with {entries} entries is used",
                        first_lines(&problem),
                        time(header.at)
                    ),
                    used: Some(header.at),
                });
                Some(parsed)
            }
            // What is active was read well, and nothing else is known of it.
            Err(_) if active.contains(key) => {
                self.errors.push(problem);
                None
            }
            Err(why) => {
                let (problem, without) = (first_lines(&problem), source.without);
                self.faults.push(Fault::new(format!("{problem}; {why}: {without}")));
                None
            }
        }
    }

    /// Ends the gathering: names what was to be accepted and is not a source, and removes
    /// copies of what is no longer one.
    pub fn finish(&mut self) {
        let Tolerance::LastGood { copies, accept, .. } = &self.tolerance else { return };
        for name in *accept {
            if !self.files.iter().any(|file| is_named(file, name)) {
                self.errors.push(format!(
                    "--accept {name}: the configuration names no list, database or file of \
                     recipients or senders of that name"
                ));
            }
        }
        if self.errors.is_empty() {
            copies.retain(&self.named);
        }
    }
}

/// The first line of a text, and how many there are more.
fn first_lines(text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    match lines.count() {
        0 => first.to_owned(),
        more => format!("{first} (and {more} more)"),
    }
}

/// `2026-11-28 17:40 UTC`.
fn time(at: u64) -> String {
    let text = when::show(at.saturating_mul(1000));
    let short = text.get(..16).unwrap_or(&text).replace('T', " ");
    format!("{short} UTC")
}

/// Whether a file is meant by a name.
fn is_named(file: &Path, name: impl AsRef<Path>) -> bool {
    let name = name.as_ref();
    file == name
        || file.canonicalize().is_ok_and(|file| name.canonicalize().is_ok_and(|name| name == file))
}

/// What was lost: everything, or more than half, of the whole or of a part.
#[must_use]
pub fn lost(now: &Counts, before: &Counts) -> Option<String> {
    let halved = |now: u64, before: u64| now.saturating_mul(2) < before;
    if halved(now.total, before.total) {
        return Some(format!("has {} entries, and had {}", now.total, before.total));
    }
    before.parts.iter().find_map(|(name, before)| {
        let has = now.parts.get(name).copied().unwrap_or(0);
        let is_lost = (has == 0 && *before > 0) || (*before >= FEW && halved(has, *before));
        is_lost.then(|| format!("has {has} entries of {name}, and had {before}"))
    })
}

/// Counts without parts.
#[must_use]
pub fn counts(total: usize) -> Counts {
    Counts { total: total as u64, parts: BTreeMap::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_said_with_both_numbers() {
        let of = |total, parts: &[(&str, u64)]| Counts {
            total,
            parts: parts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        };
        assert_eq!(lost(&of(0, &[]), &of(0, &[])), None);
        assert_eq!(lost(&of(5, &[]), &of(10, &[])), None);
        assert_eq!(lost(&of(4, &[]), &of(10, &[])).as_deref(), Some("has 4 entries, and had 10"));
        assert_eq!(lost(&of(0, &[]), &of(1, &[])).as_deref(), Some("has 0 entries, and had 1"));
        let before = of(100, &[("CN", 40), ("DE", 3)]);
        assert_eq!(lost(&of(90, &[("CN", 20), ("DE", 1)]), &before), None);
        let cn = lost(&of(90, &[("CN", 19), ("DE", 3)]), &before);
        assert_eq!(cn.as_deref(), Some("has 19 entries of CN, and had 40"));
        let de = lost(&of(99, &[("CN", 40)]), &before);
        assert_eq!(de.as_deref(), Some("has 0 entries of DE, and had 3"));
    }

    #[test]
    fn an_alarm_is_the_same_while_it_ages() {
        let fault = Fault { text: "f:1: bad; used".to_owned(), used: Some(1000) };
        let ages = [(1000, "less than an hour"), (8200, "2 hours"), (1_000_000, "11 days")];
        for (now, age) in ages {
            let alarm = fault.alarm(now);
            assert_eq!(alarm, format!("f:1: bad; used, now {age} old"));
            assert_eq!(without_age(&alarm), "f:1: bad; used");
        }
        assert_eq!(without_age("something, now and then"), "something, now and then");
    }
}
