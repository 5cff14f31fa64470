//! The stage at RCPT that says whether a recipient exists: a row of the pipeline.

use super::domains::{DomainPolicy, RecipientSource};
use super::evidence::Witness;
use super::pipeline::{Facts, Memory, Policy, RcptOutcome, Stop, is_approved};
use super::recipients::Found;
use crate::smtp::address::{ForwardPath, Mailbox};
use crate::smtp::refusal::{Reason, Refusal, Rule};

/// A client that guesses learns nothing more about recipients, and loses no mail.
fn guessing(
    policy: &Policy,
    facts: &Facts<'_>,
    domain: &DomainPolicy,
    memory: &dyn Memory,
) -> Result<(), Stop> {
    let bounces = facts.sender.mailbox().is_none();
    let backend = Witness::Backend(domain.backend.clone());
    let is_deferred = memory.is_deferred(facts.client, bounces, &backend);
    if !is_deferred || facts.connection.approved.is_some() || is_approved(policy, facts)? {
        return Ok(());
    }
    Err(Refusal::new(Reason::Guessing, facts.client).into())
}

/// Whether the lists here, of files or of a directory that has answered, say that a
/// recipient does not exist.
fn is_unlisted(policy: &Policy, domain: &DomainPolicy, mailbox: &Mailbox) -> bool {
    let found = || policy.recipients.check(mailbox, domain.subaddress);
    match domain.recipients {
        RecipientSource::Backend => false,
        RecipientSource::Listed => !matches!(found(), Found::Valid { .. }),
        RecipientSource::Directory => matches!(found(), Found::Invalid),
    }
}

impl Policy {
    /// Who it is that says of a recipient that it does not exist.
    #[must_use]
    pub fn witness(&self, recipient: &ForwardPath) -> Witness {
        let (Some(domain), Some(mailbox)) = (self.domain_of(recipient), recipient.mailbox()) else {
            return Witness::Own;
        };
        if !self.domains.is_shared() || is_unlisted(self, domain, mailbox) {
            return Witness::Own;
        }
        Witness::Backend(domain.backend.clone())
    }
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
    guessing(policy, facts, domain, memory)?;
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
