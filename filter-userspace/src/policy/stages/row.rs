//! The row of a stage, and what it works with.

use crate::policy::facts::{Facts, History, Known, Stop};
use crate::policy::rules::Policy;
use crate::smtp::address::ForwardPath;
use crate::smtp::refusal::{Refusal, Rule, Stage};
use crate::smtp::session::BackendName;

/// What is decided: whether a recipient may have a message, by a policy.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The facts of the message.
    pub facts: &'a Facts,
    /// The recipient.
    pub recipient: &'a ForwardPath,
}

/// A stage at MAIL.
pub(in crate::policy) struct MailRow {
    /// Its name in the mail log.
    pub(in crate::policy) stage: Stage,
    /// Returns what it found, or its refusal.
    pub(in crate::policy) check: fn(&Policy, &Facts) -> Result<Passed, Refusal>,
}

/// A stage at RCPT.
pub(in crate::policy) struct RcptRow {
    /// Its name in the mail log.
    pub(in crate::policy) stage: Stage,
    /// Returns what it found, its refusal, or what it must learn first.
    pub(in crate::policy) check: RcptCheck,
}

/// How a stage at RCPT decides.
type RcptCheck = fn(&Case<'_>, &Known, &mut dyn History) -> Result<Passed, Stop>;

/// A stage has nothing against the message.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct Passed {
    /// What it found, for people.
    pub(in crate::policy) note: String,
    /// A header field that the message gets: whole, with its final CRLF.
    pub(in crate::policy) header: Option<String>,
    /// The backend for the recipient's mail, and the rule that names it.
    pub(in crate::policy) route: Option<(BackendName, Rule)>,
}

impl Passed {
    /// A pass with a note only.
    pub(super) fn with(note: impl Into<String>) -> Self {
        Self { note: note.into(), ..Self::default() }
    }
}
