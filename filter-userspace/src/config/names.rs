//! Tables that other tables name: each name once, and none that does not exist.

use super::section::key::Key;
use super::section::{Section, clean};

/// What sections mention of others: the names that there are. None where one could not
/// be read: then a name that seems unknown may be that one's.
pub(super) struct Names {
    pub(super) backends: Option<Vec<String>>,
    pub(super) directories: Option<Vec<String>>,
}

impl Names {
    /// Whether a `[[backend]]` has the name that stands at `key`; else an error there.
    pub(super) fn backend(&self, section: &Section<'_>, key: Key, name: &str) {
        Self::must_have(self.backends.as_deref(), section, key, name, "[[backend]]");
    }

    /// The same of an `[[ldap]]`.
    pub(super) fn directory(&self, section: &Section<'_>, key: Key, name: &str) {
        Self::must_have(self.directories.as_deref(), section, key, name, "[[ldap]]");
    }

    fn must_have(
        known: Option<&[String]>,
        section: &Section<'_>,
        key: Key,
        name: &str,
        kind: &str,
    ) {
        let Some(known) = known else { return };
        if name.is_empty() || known.iter().any(|known| known == name) {
            return;
        }
        let there = match known {
            [] => format!("there is no {kind}"),
            known => format!("there are {}", clean(&known.join(", "))),
        };
        section.missing(key, format!("no {kind} is named `{}`; {there}", clean(name)));
    }
}

/// The names of tables of one kind, each its own; none where one could not be read.
pub(super) fn unique<'a, 'b: 'a>(
    tables: impl Iterator<Item = (&'a str, &'a Section<'b>)>,
    key: Key,
) -> Option<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    let mut is_whole = true;
    for (name, section) in tables {
        is_whole &= !name.is_empty();
        if names.iter().any(|known| known == name) {
            section.wrong(key, format!("{} is named twice", clean(name)));
        }
        names.push(name.to_owned());
    }
    is_whole.then_some(names)
}

/// What was read of tables, whose unknown keys are reported now.
pub(super) fn finished<T>(tables: Vec<(T, Section<'_>)>) -> Vec<T> {
    let finish = |(read, section): (T, Section<'_>)| {
        section.finish();
        read
    };
    tables.into_iter().map(finish).collect()
}
