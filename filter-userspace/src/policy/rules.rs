//! The policy of one rule set.

use super::domains::RecipientSource;
use super::domains::{DomainPolicy, Domains};
use super::evidence::Witness;
use super::facts::Facts;
use super::recipients::{Found, RecipientSet};
use super::relay::{Customer, Direction, Relay};
use super::reputation::Reputation;
use super::senders::SenderLists;
use super::spf::SpfPolicy;
use super::tls::TlsPolicy;
use crate::smtp::address::{ForwardPath, Mailbox};
use crate::smtp::refusal::Rule;
use crate::smtp::session::BackendName;

/// The policy of one rule set.
#[derive(Debug, Default)]
pub struct Policy {
    /// The largest message, in bytes.
    pub message_size: u64,
    /// Approved and blocked senders.
    pub senders: SenderLists,
    /// What TLS peers must use.
    pub tls: TlsPolicy,
    /// Whether an approved sender counts as approved only if SPF passes.
    pub approve_requires_spf_pass: bool,
    /// The DNS lists that are queried about clients.
    pub reputation: Reputation,
    /// Whether name servers are queried about clients with private addresses.
    pub ask_private: bool,
    /// The SPF settings that all domains share.
    pub spf: SpfPolicy,
    /// Who may send out.
    pub relay: Relay,
    /// The domains that mail is accepted for.
    pub domains: Domains,
    /// The valid recipients of the domains that list them.
    pub recipients: RecipientSet,
    /// The name of the configuration, for rules.
    pub source: String,
}

impl Policy {
    /// The customer whose host the client is.
    #[must_use]
    pub fn customer(&self, facts: &Facts) -> Option<&Customer> {
        let certificate = facts.tls.as_ref().and_then(|tls| tls.certificate.as_deref());
        self.relay.customer_of(facts.client, certificate)
    }

    /// The customer that owns the sender's domain, where the client is not a host of theirs.
    pub(super) fn forged(&self, facts: &Facts) -> Option<&Customer> {
        let domain = facts.sender.mailbox()?.domain()?;
        let owner = self.relay.owner_of(domain)?;
        let is_own = self.customer(facts).is_some_and(|customer| customer.name == owner.name);
        (!is_own).then_some(owner)
    }

    pub(super) fn rule(&self, line: u32, entry: &str) -> Rule {
        Rule { source: self.source.clone(), line, entry: entry.to_owned() }
    }

    /// The backend that a recipient's mail goes to.
    #[must_use]
    pub fn backend_of(
        &self,
        direction: Direction,
        recipient: &ForwardPath,
    ) -> Option<&BackendName> {
        match direction {
            Direction::Inbound => self.domain_of(recipient).map(|domain| &domain.backend),
            Direction::Outgoing => self.relay.backend.as_ref(),
        }
    }

    pub(super) fn domain_of(&self, recipient: &ForwardPath) -> Option<&DomainPolicy> {
        match recipient {
            ForwardPath::Postmaster => self.domains.first(),
            ForwardPath::Mailbox(mailbox) => self.domains.find(mailbox.domain()?),
        }
    }

    /// Who would report that a recipient does not exist.
    #[must_use]
    pub fn witness(&self, recipient: &ForwardPath) -> Witness {
        let (Some(domain), Some(mailbox)) = (self.domain_of(recipient), recipient.mailbox()) else {
            return Witness::Own;
        };
        if !self.domains.is_shared() || self.is_unlisted(domain, mailbox) {
            return Witness::Own;
        }
        Witness::Backend(domain.backend.clone())
    }

    /// Whether the lists here, from files or a directory that has answered, show that a recipient
    /// does not exist.
    fn is_unlisted(&self, domain: &DomainPolicy, mailbox: &Mailbox) -> bool {
        let found = || self.recipients.check(mailbox, domain.subaddress);
        match domain.recipients {
            RecipientSource::Backend => false,
            RecipientSource::Listed => !matches!(found(), Found::Valid { .. }),
            RecipientSource::Directory => matches!(found(), Found::Invalid),
        }
    }
}
