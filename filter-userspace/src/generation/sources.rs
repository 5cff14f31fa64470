//! Each source by itself: what it contains now, or, where that is bad, empty, cut or suddenly
//! small, its last good content.

use std::collections::{BTreeMap, BTreeSet};

use super::contents::Contents;
use super::fault::{Fault, first_lines, time};
use super::gathered::{Gathered, Kept, Said};
use super::source::{Source, Told};
use crate::io::last_good::Counts;

/// Parts with fewer entries than this count as lost only when all of them are gone.
const FEW: u64 = 20;

/// What was compiled of sources, and what there is to say about them.
pub(super) struct Sources<'a> {
    /// What was read of them.
    pub(super) gathered: &'a Gathered,
    /// What keeps the rule set from being made, a line each.
    pub(super) errors: Vec<String>,
    /// What an operator is warned of.
    pub(super) warnings: Vec<String>,
    /// Faults of sources that something else is used for.
    pub(super) faults: Vec<Fault>,
    /// The sources that something is used of.
    pub(super) used: BTreeSet<String>,
    /// What is used of sources that are not lists of addresses.
    pub(super) contents: Contents,
    /// What is to be kept of them.
    pub(super) keeping: Keeping,
}

/// What is to be kept of sources.
#[derive(Default)]
pub struct Keeping {
    /// The sources whose content now is good and not kept yet.
    pub(super) copies: BTreeMap<String, NewCopy>,
    /// The sources that are named, whatever came of them: all other copies go.
    pub(super) named: BTreeSet<String>,
    /// What was wrong with sources whose last good content is used, for the log.
    pub(super) problems: Vec<String>,
    /// The sources whose last good content must be read first: without it, nothing else here
    /// holds.
    pub(super) needs: BTreeSet<String>,
}

/// The next copy of a source.
pub(super) struct NewCopy {
    /// Its entries.
    pub(super) counts: Counts,
    /// What was wrong with the copy before it.
    pub(super) damaged: Option<String>,
}

impl<'a> Sources<'a> {
    /// Nothing yet.
    pub(super) fn new(gathered: &'a Gathered) -> Self {
        Self {
            gathered,
            errors: Vec::new(),
            warnings: Vec::new(),
            faults: Vec::new(),
            used: BTreeSet::new(),
            contents: Contents::default(),
            keeping: Keeping::default(),
        }
    }

    /// Notes a fault: an error, or where faults are tolerated an alarm.
    pub(super) fn fault(&mut self, text: String, instead: &str) {
        if self.gathered.tolerance.is_none() {
            self.errors.push(text);
        } else {
            self.faults.push(Fault::new(format!("{}; {instead}", first_lines(&text))));
        }
    }

    /// Notes what is not an error and needs an operator all the same.
    pub(super) fn warn_and_alarm(&mut self, text: String) {
        if self.gathered.tolerance.is_some() {
            self.faults.push(Fault::new(text.clone()));
        }
        self.warnings.push(text);
    }

    /// Names a source that keeps its copies itself.
    pub(super) fn keep(&mut self, key: String) {
        self.keeping.named.insert(key);
    }

    /// Takes a source: what it contains now, or its last good content. None where nothing of
    /// it is known; that is an alarm then, or an error.
    pub(super) fn take<T>(
        &mut self,
        source: &Source,
        parse: impl Fn(&[u8]) -> Result<(T, Counts), String>,
    ) -> Option<T> {
        let key = source.key();
        let gathered = self.gathered;
        let Some(said) = gathered.sources.get(&key) else {
            self.errors.push(format!("{key} was not read"));
            return None;
        };
        self.keeping.named.insert(key.clone());
        let now = said.now.as_deref().map_err(|error| format!("{error}{}", source.place));
        let parsed = now.and_then(|bytes| parse(bytes).map(|parsed| (bytes, parsed)));
        let problem = match parsed {
            Ok((bytes, (parsed, counts))) => match self.compare(source, said, &counts) {
                None => {
                    self.keep_copy(&key, said, counts);
                    self.uses(source, bytes);
                    self.used.insert(key);
                    return Some(parsed);
                }
                Some(lost) => lost,
            },
            Err(error) => error,
        };
        let taken = self.fall_back(source, said, problem, parse);
        if taken.is_some() {
            self.used.insert(key);
        }
        taken
    }

    /// Notes which content of a source is used, be it what it contains now or its last good one.
    fn uses(&mut self, source: &Source, bytes: &[u8]) {
        let name = source.path.display().to_string();
        match source.told {
            Told::Compiled => {}
            Told::Lines => self.contents.add_lines(source.key(), name, bytes),
            Told::Whole => self.contents.add_whole(source.key(), name, bytes),
        }
    }

    /// What speaks against a content that has so many entries.
    fn compare(&self, source: &Source, said: &Said, counts: &Counts) -> Option<String> {
        if self.gathered.tolerance.is_none() || source.may_shrink || said.is_accepted {
            return None;
        }
        // A copy that is damaged says nothing; it is made anew.
        let lost = lost(counts, &said.kept.header()?.counts)?;
        let name = source.path.display();
        Some(format!("{name}: {lost}; if that is meant: mxdp reload --accept {name}"))
    }

    /// Keeps a good content, unless it is what is kept already.
    fn keep_copy(&mut self, key: &str, said: &Said, counts: Counts) {
        let damaged = match &said.kept {
            Kept::Same(header) if header.counts == counts => return,
            Kept::Damaged(damaged) => Some(damaged.clone()),
            Kept::Same(_) | Kept::Other(_) | Kept::Nothing => None,
        };
        self.keeping.copies.insert(key.to_owned(), NewCopy { counts, damaged });
    }

    fn fall_back<T>(
        &mut self,
        source: &Source,
        said: &Said,
        problem: String,
        parse: impl Fn(&[u8]) -> Result<(T, Counts), String>,
    ) -> Option<T> {
        let Some(tolerated) = &self.gathered.tolerance else {
            self.errors.push(problem);
            return None;
        };
        let unusable = |error: &str| Err(format!("its last good content cannot be used: {error}"));
        let nothing = || Err("there is no last good content".to_owned());
        let kept = match (&said.kept, &said.now) {
            (Kept::Same(header), Ok(bytes)) => Ok((header, bytes)),
            (Kept::Damaged(error), _) => unusable(error),
            (Kept::Nothing | Kept::Same(_), _) => nothing(),
            (Kept::Other(_), _) => match self.gathered.copies.get(&source.key()) {
                Some(Ok(Some((header, bytes)))) => Ok((header, bytes)),
                Some(Ok(None)) => nothing(),
                Some(Err(error)) => unusable(error),
                None => {
                    self.keeping.needs.insert(source.key());
                    return None;
                }
            },
        };
        let kept = kept.and_then(|(header, bytes)| {
            parse(bytes).map(|(parsed, _)| (header, bytes, parsed)).map_err(|error| {
                format!("its last good content cannot be used: {}", first_lines(&error))
            })
        });
        self.keeping.problems.push(problem.clone());
        let first = first_lines(&problem);
        match kept {
            Ok((header, bytes, parsed)) => {
                self.uses(source, bytes);
                let entries = header.counts.total;
                let at = time(header.at);
                let used = format!("its last good content of {at} with {entries} entries is used");
                self.faults.push(Fault::since(format!("{first}; {used}"), header.at));
                Some(parsed)
            }
            // What is active was read well, and nothing else is known of it.
            Err(_) if tolerated.active.contains(&source.key()) => {
                self.errors.push(problem);
                None
            }
            Err(why) => {
                self.faults.push(Fault::new(format!("{first}; {why}: {}", source.without)));
                None
            }
        }
    }
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
}
