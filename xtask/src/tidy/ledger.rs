//! What broke a rule when the rule came, and still does: a list that can only shrink.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::finding::Finding;

/// Where it is.
pub(super) const LEDGER: &str = "xtask/src/tidy/ledger.txt";

/// A rule, a path, and what the rule calls it there.
type Entry = (String, String, String);

/// How often each is allowed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger(BTreeMap<Entry, usize>);

impl Ledger {
    /// Reads lines of `RULE COUNT PATH KEY`; an empty key is left out.
    pub(super) fn read(text: &str) -> Self {
        let entry = |line: &str| {
            let mut words = line.splitn(4, ' ');
            let (rule, count) = (words.next()?, words.next()?.parse().ok()?);
            let (path, key) = (words.next()?, words.next().unwrap_or_default());
            Some(((rule.to_owned(), path.to_owned(), key.to_owned()), count))
        };
        Self(text.lines().filter_map(entry).collect())
    }

    /// What there is.
    pub(super) fn of(findings: &[Finding]) -> Self {
        let mut ledger = Self::default();
        for finding in findings {
            if let Some(key) = &finding.key {
                let entry = (finding.rule.to_owned(), finding.path.clone(), key.clone());
                *ledger.0.entry(entry).or_default() += 1;
            }
        }
        ledger
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for ((rule, path, key), count) in &self.0 {
            _ = writeln!(text, "{}", format!("{rule} {count} {path} {key}").trim_end());
        }
        text
    }

    /// Takes away what is allowed, and adds the entries that allow more than there is.
    pub(super) fn apply(&self, findings: Vec<Finding>) -> Vec<Finding> {
        let there = Self::of(&findings);
        let allowed = |finding: &Finding| {
            let key = finding.key.clone()?;
            let entry = (finding.rule.to_owned(), finding.path.clone(), key);
            Some(there.0.get(&entry)? <= self.0.get(&entry)?)
        };
        let mut left: Vec<_> =
            findings.into_iter().filter(|finding| allowed(finding) != Some(true)).collect();
        for (entry, count) in &self.0 {
            let found = there.0.get(entry).copied().unwrap_or_default();
            if found < *count {
                let (rule, path, key) = entry;
                let message = format!(
                    "{rule} {path} {key}: {count} allowed, and there are {found}: \
                     `cargo xtask tidy --write` shortens the list"
                );
                left.push(Finding::error("ledger", LEDGER, 1, message));
            }
        }
        left
    }

    /// Whether `there` may take this ledger's place: of no rule is there more than is allowed.
    /// Files may be renamed.
    pub(super) fn may_become(&self, there: &Self) -> bool {
        let sum = |ledger: &Self, rule: &str| -> usize {
            ledger.0.iter().filter(|(entry, _)| entry.0 == rule).map(|(_, count)| count).sum()
        };
        there.0.keys().all(|(rule, ..)| sum(there, rule) <= sum(self, rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(count: usize) -> Vec<Finding> {
        vec![Finding::error("words", "a.rs", 1, "old").known_as("in force"); count]
    }

    #[test]
    fn what_is_listed_is_allowed_and_no_more() {
        let ledger = Ledger::read("words 2 a.rs in force\n");
        assert_eq!(ledger.apply(findings(2)), []);
        assert_eq!(ledger.apply(findings(3)).len(), 3);
        let other = vec![Finding::error("words", "b.rs", 1, "old").known_as("in force")];
        assert_eq!(ledger.apply(other).len(), 2);
        assert_eq!(Ledger::read("").apply(vec![Finding::error("dead", "a.rs", 1, "x")]).len(), 1);
    }

    #[test]
    fn an_entry_without_a_hit_is_an_error() {
        let ledger = Ledger::read("words 2 a.rs in force\ncycle 1 b.rs\n");
        let left = ledger.apply(findings(1));
        assert_eq!(left.len(), 2);
        assert!(left.iter().all(|finding| finding.rule == "ledger"), "{left:?}");
    }

    #[test]
    fn it_shrinks_and_never_grows() {
        let ledger = Ledger::read("words 2 a.rs in force\n");
        assert_eq!(Ledger::read(&ledger.text()), ledger);
        let moved = Ledger::read("words 1 b.rs in force\n");
        assert!(ledger.may_become(&moved) && ledger.may_become(&Ledger::default()));
        for more in ["words 3 a.rs in force", "words 2 a.rs x\nwords 1 b.rs x", "cycle 1 a.rs"] {
            assert!(!ledger.may_become(&Ledger::read(more)), "{more}");
        }
        assert_eq!(Ledger::of(&findings(2)), ledger);
    }
}
