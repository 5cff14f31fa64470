//! A breach of a house rule, with its place.

use std::fmt;

/// A breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The rule's name in the ledger.
    pub(super) rule: &'static str,
    pub(super) path: String,
    /// From 1.
    pub(super) line: usize,
    pub(super) message: String,
    /// What the ledger calls it, beside rule and path; `None` where no ledger can allow it.
    pub(super) key: Option<String>,
    /// Reported, but not a failure.
    pub(super) is_warning: bool,
}

impl Finding {
    /// A breach that nothing allows.
    pub(super) fn error(
        rule: &'static str,
        path: &str,
        line: usize,
        message: impl Into<String>,
    ) -> Self {
        let (path, message) = (path.to_owned(), message.into());
        Self { rule, path, line, message, key: None, is_warning: false }
    }

    /// The same, as an entry of the ledger may have it.
    pub(super) fn known_as(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// The same as a warning.
    pub(super) fn warning(self) -> Self {
        Self { is_warning: true, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_warning { "warning: " } else { "" };
        write!(out, "{}:{}: {kind}{}", self.path, self.line, self.message)
    }
}
