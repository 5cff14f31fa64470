//! The stage at RCPT that says whether a recipient exists: a row of the pipeline.

use super::domains::RecipientSource;
use super::pipeline::{Facts, Memory, Policy, RcptOutcome, Stop, is_approved};
use super::recipients::Found;
use crate::smtp::address::ForwardPath;
use crate::smtp::refusal::{Reason, Refusal, Rule};

/// A client that guesses learns nothing more about recipients, and loses no mail.
fn guessing(policy: &Policy, facts: &Facts<'_>, memory: &dyn Memory) -> Result<(), Stop> {
    let bounces = facts.sender.mailbox().is_none();
    let is_deferred = memory.is_deferred(facts.client, bounces);
    if !is_deferred || facts.connection.approved.is_some() || is_approved(policy, facts)? {
        return Ok(());
    }
    Err(Refusal::new(Reason::Guessing, facts.client).into())
}

/// Whether a recipient exists.
pub(super) fn recipient(
    policy: &Policy,
    facts: &Facts<'_>,
    path: &ForwardPath,
    memory: &mut dyn Memory,
) -> RcptOutcome {
    let (Some(domain), Some(mailbox)) = (policy.domain_of(path), path.mailbox()) else {
        return Ok("the backend decides".to_owned());
    };
    guessing(policy, facts, memory)?;
    let unknown = |entry: &str| {
        let rule =
            Rule { source: policy.source.clone(), line: domain.line, entry: entry.to_owned() };
        Refusal::by(Reason::UnknownRecipient, format_args!("<{path}>"), Some(rule))
    };
    if domain.recipients == RecipientSource::Backend {
        return match memory.is_known_invalid(facts, path) {
            true => Err(unknown("the backend lately told this client so").into()),
            false => Ok("the backend decides".to_owned()),
        };
    }
    match policy.recipients.check(mailbox, domain.subaddress) {
        Found::Valid { source, line } => Ok(format!("valid: {source}:{line}")),
        // Nothing is known of the domain while its directory was never reached:
        // that is no reason to refuse.
        Found::UnknownDomain if domain.recipients == RecipientSource::Directory => {
            Ok("the directory has not answered: the backend decides".to_owned())
        }
        Found::UnknownDomain | Found::Invalid => Err(unknown("on no list of the domain").into()),
    }
}
