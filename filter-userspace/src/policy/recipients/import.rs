//! What a file or a directory says about its domains' recipients.

use std::collections::HashMap;
use std::fmt;

use super::locals::Locals;
use crate::lists::{BadLines, OnBadLine};
use crate::smtp::address::Domain;

/// How recipients are read.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions {
    /// What a line that is not an address does.
    pub on_bad_line: OnBadLine,
    /// The most addresses.
    pub max_entries: usize,
}

/// The recipients of some domains.
#[derive(Clone, Debug)]
pub struct Import {
    pub(super) name: String,
    pub(super) domains: HashMap<Domain, Locals>,
    pub(super) bad: BadLines,
    pub(super) remarks: Vec<String>,
    pub(super) open_end: Option<(u32, Domain)>,
}

impl Import {
    /// How many recipients there are, catch-alls not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.domains.values().map(Locals::len).sum()
    }

    /// Whether it has no domain, so that it would replace nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// Where it is from.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Leaves the domains out that are not wanted, and gives them, in order.
    pub fn retain(&mut self, wanted: impl Fn(&Domain) -> bool) -> Vec<Domain> {
        let mut others: Vec<_> = self
            .domains
            .extract_if(|domain, _| !wanted(domain))
            .map(|(domain, _)| domain)
            .collect();
        others.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        others
    }

    /// The domains whose recipients it replaces, with the number of these, in no order. A
    /// domain all of whose recipients are valid counts one more.
    pub fn domains(&self) -> impl Iterator<Item = (&Domain, usize)> {
        let count = |locals: &Locals| locals.len() + usize::from(locals.catch_all().is_some());
        self.domains.iter().map(move |(domain, locals)| (domain, count(locals)))
    }

    /// The last line of a file and the domain of its last recipient, where the line has no
    /// line end, so that it may have been cut.
    #[must_use]
    pub fn open_end(&self) -> Option<(u32, &Domain)> {
        self.open_end.as_ref().map(|(line, domain)| (*line, domain))
    }

    /// What an operator may not have meant, `name:line: text` each.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The bad lines that were skipped.
    #[must_use]
    pub const fn skipped(&self) -> usize {
        self.bad.total()
    }

    /// The first bad lines that were skipped, and how many more: a line of text
    /// each.
    pub fn skipped_lines(&self) -> impl Iterator<Item = String> {
        self.bad.named(&self.name)
    }
}

/// Why recipients were not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportError {
    /// Lines that are not addresses.
    BadLines {
        /// The file.
        name: String,
        /// The lines.
        bad: BadLines,
    },
    /// More addresses than permitted.
    TooMany {
        /// The file.
        name: String,
        /// The line that was one too many.
        line: u32,
    },
    /// The file cannot be a list of all recipients.
    Unusable {
        /// The file.
        name: String,
        /// Where that shows.
        line: u32,
        /// Why.
        why: &'static str,
    },
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLines { name, bad } => {
                f.write_str(&bad.named(name).collect::<Vec<_>>().join("\n"))
            }
            Self::TooMany { name, line } => {
                write!(f, "{name}:{line}: more recipients than are permitted")
            }
            Self::Unusable { name, line, why } => write!(f, "{name}:{line}: {why}"),
        }
    }
}

impl std::error::Error for ImportError {}
