//! Whether a recipient exists.

use super::approved::is_approved;
use super::row::{Case, Passed, RcptRow};
use crate::policy::domains::{DomainPolicy, RecipientSource};
use crate::policy::evidence::Witness;
use crate::policy::facts::{History, Known, Stop};
use crate::policy::recipients::Found;
use crate::smtp::refusal::{Reason, Refusal, Stage};

pub(super) const ROW: RcptRow = RcptRow { stage: Stage::Recipient, check };

fn check(case: &Case<'_>, known: &Known, history: &mut dyn History) -> Result<Passed, Stop> {
    let Case { policy, facts, recipient } = case;
    let (Some(domain), Some(mailbox)) = (policy.domain_of(recipient), recipient.mailbox()) else {
        return Ok(Passed::with("the backend decides"));
    };
    guessing(case, domain, known, history)?;
    let unknown = |entry: &str| {
        let rule = policy.rule(domain.line, entry);
        Refusal::by(Reason::UnknownRecipient, format_args!("<{recipient}>"), Some(rule))
    };
    if domain.recipients == RecipientSource::Backend {
        return match history.is_known_invalid(facts, recipient) {
            true => Err(unknown("the backend lately told this client so").into()),
            false => Ok(Passed::with("the backend decides")),
        };
    }
    match policy.recipients.check(mailbox, domain.subaddress) {
        Found::Valid { source, line } => Ok(Passed::with(format!("valid: {source}:{line}"))),
        // Nothing is known about the domain while its directory was never reached: that is no
        // reason to refuse.
        Found::UnknownDomain if domain.recipients == RecipientSource::Directory => {
            Ok(Passed::with("the directory has not answered: the backend decides"))
        }
        Found::UnknownDomain | Found::Invalid => Err(unknown("on no list of the domain").into()),
    }
}

/// Defers a client that guesses: it learns nothing more about recipients, and loses no mail.
fn guessing(
    case: &Case<'_>,
    domain: &DomainPolicy,
    known: &Known,
    history: &dyn History,
) -> Result<(), Stop> {
    let facts = case.facts;
    let bounces = facts.sender.mailbox().is_none();
    let backend = Witness::Backend(domain.backend.clone());
    let is_deferred = history.is_deferred(facts.client, bounces, &backend);
    if !is_deferred || facts.connection.approved.is_some() || is_approved(case, known)? {
        return Ok(());
    }
    Err(Refusal::new(Reason::Guessing, facts.client).into())
}
