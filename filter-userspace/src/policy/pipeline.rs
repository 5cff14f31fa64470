//! The stages in order, each a row: what decides is the first that refuses.
//!
//! A session asks [`mail`] and [`rcpt`]; [`explain`] walks the same rows to the
//! end and says what each found. A stage that needs an answer of the network says
//! so by [`Stop::Needs`]: whoever asked gets it, and asks again. That repeats the
//! stages before it, which cost little and change nothing.

use std::net::IpAddr;
use std::sync::Arc;

use super::domains::{DomainPolicy, Domains};
use super::evidence::Witness;
use super::outgoing;
use super::recipient_stage::recipient;
use super::recipients::RecipientSet;
use super::relay::{Customer, Direction, OwnDomain, Place, Relay};
use super::reputation::{Reputation, Verdict};
use super::senders::{SenderClass, SenderLists};
use super::spf::SpfPolicy;
use super::tls::TlsPolicy;
use crate::dns::unasked;
use crate::smtp::address::{ForwardPath, ReversePath};
use crate::smtp::refusal::{Reason, Refusal, Rule, Stage};
use crate::smtp::session::{BackendName, Permit, Tls};
use crate::spf::{Evaluation, Outcome};

/// Everything that decides, of one generation.
#[derive(Debug, Default)]
pub struct Policy {
    /// The largest message, in octets.
    pub message_size: u64,
    /// Approved and blocked senders.
    pub senders: SenderLists,
    /// What TLS peers must use.
    pub tls: TlsPolicy,
    /// Whether an approved sender is one only where SPF lets it pass.
    pub approve_requires_spf_pass: bool,
    /// The DNS lists that are asked about clients.
    pub reputation: Reputation,
    /// Whether name servers are asked about clients with private addresses.
    pub ask_private: bool,
    /// SPF, where it is the same for all domains.
    pub spf: SpfPolicy,
    /// Who may send out.
    pub relay: Relay,
    /// The domains that mail is taken for.
    pub domains: Domains,
    /// The valid recipients of those that list them.
    pub recipients: RecipientSet,
    /// The name of the configuration, for rules.
    pub source: String,
}

/// What the packet filter's lists say of the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Whether the address or its country is approved, and by which rule.
    pub approved: Option<Rule>,
    /// Why it is refused, and by which rule.
    pub refused: Option<(Reason, Option<Rule>)>,
}

/// The facts of a message to be.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Which way the message goes.
    pub direction: Direction,
    /// The client's address.
    pub client: IpAddr,
    /// TLS in use.
    pub tls: Option<&'a Tls>,
    /// What the lists say of the client.
    pub connection: &'a Connection,
    /// The sender.
    pub sender: &'a ReversePath,
    /// The size that MAIL declares.
    pub size: Option<u64>,
    /// What DNS lists say of the client, once it is known.
    pub reputation: Option<&'a Verdict>,
    /// What SPF says of the sender, once it is known.
    pub spf: Option<&'a Checked>,
    /// Whether mail for the recipient's domain has a place to go, once it is known.
    pub place: Option<&'a Place>,
}

/// An evaluation of SPF, with its header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What came of it.
    pub evaluation: Evaluation,
    /// The field Received-SPF, with its last CRLF.
    pub field: String,
}

/// What a stage must know of the network before it can say anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// What DNS lists say of the client.
    Reputation,
    /// What SPF says of the sender.
    Spf,
    /// Whether mail for the recipient's domain has a place to go.
    Place,
}

/// Why the stages went no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// One refuses.
    Refused(Refusal),
    /// One must know more.
    Needs(Need),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What changes from message to message.
pub trait Memory {
    /// Whether the backend has lately told this very client, for this sender, that there
    /// is no such recipient.
    fn is_known_invalid(&self, facts: &Facts<'_>, recipient: &ForwardPath) -> bool;
    /// Whether recipients of a client are deferred, since it named mostly invalid ones;
    /// those of the null sender are counted apart, and so are those that the backend of their
    /// domain alone says do not exist.
    fn is_deferred(&self, client: IpAddr, bounces: bool, backend: &Witness) -> bool;
    /// Whether a customer's host is suspended.
    fn is_suspended(&self, client: IpAddr, customer: &Arc<str>) -> bool;
    /// Whether one more recipient is within the rates; if so, it is counted. Customers at
    /// one address have a rate each.
    fn take_rate(
        &mut self,
        client: IpAddr,
        customer: Option<&Arc<str>>,
        recipient: &ForwardPath,
    ) -> bool;
}

/// What a stage found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The stage.
    pub stage: Stage,
    /// What it has against the message.
    pub refusal: Option<Refusal>,
    /// What it found, for people.
    pub note: String,
    /// What it must know before it can say anything.
    pub needs: Option<Need>,
}

type MailOutcome = Result<String, Refusal>;
type MailStage = fn(&Policy, &Facts<'_>) -> MailOutcome;
pub(super) type RcptOutcome = Result<String, Stop>;
pub(super) type RcptStage = fn(&Policy, &Facts<'_>, &ForwardPath, &mut dyn Memory) -> RcptOutcome;

/// The stages at MAIL.
const MAIL: &[(Stage, MailStage)] = &[(Stage::Tls, tls), (Stage::Size, size)];

/// The stages at RCPT. A blocked sender is told so here, so that the record has
/// the recipient. What is said of the client comes before what is said of the recipient:
/// a client that is refused anyway learns nothing about recipients.
const RCPT: &[(Stage, RcptStage)] = &[
    (Stage::Sender, sender),
    (Stage::Sender, forged),
    (Stage::Relay, relay),
    (Stage::Connection, connection),
    (Stage::Reputation, reputation),
    (Stage::Recipient, recipient),
    (Stage::Spf, spf),
    (Stage::Rate, rate),
];

const fn rcpt_stages(direction: Direction) -> &'static [(Stage, RcptStage)] {
    match direction {
        Direction::Inbound => RCPT,
        Direction::Outgoing => outgoing::STAGES,
    }
}

/// Whether a sender may begin a message.
///
/// # Errors
///
/// The first stage's refusal.
pub fn mail(policy: &Policy, facts: &Facts<'_>) -> Result<(), Refusal> {
    MAIL.iter().try_for_each(|(_, stage)| stage(policy, facts).map(|_| ()))
}

/// Whether a recipient may have a message, and where it goes.
///
/// # Errors
///
/// The first stage's refusal, or what it must know first.
pub fn rcpt(
    policy: &Policy,
    facts: &Facts<'_>,
    recipient: &ForwardPath,
    memory: &mut dyn Memory,
) -> Result<Permit, Stop> {
    for (_, stage) in rcpt_stages(facts.direction) {
        stage(policy, facts, recipient, memory)?;
    }
    if facts.direction == Direction::Outgoing {
        let backend = policy.relay.backend.clone().ok_or_else(|| relay_denied(recipient))?;
        return Ok(Permit { backend, headers: Vec::new() });
    }
    let domain = policy.domain_of(recipient).ok_or_else(|| relay_denied(recipient))?;
    let tagged = match (&domain.spf, facts.spf) {
        (Some(actions), Some(checked)) if policy.spf.tags(actions, &checked.evaluation) => {
            Some(checked.field.clone())
        }
        _ => None,
    };
    let forged = policy.forged(facts).filter(|_| policy.relay.own_domain == OwnDomain::Tag);
    let forged = forged.map(|owner| {
        let (owner, client) = (&owner.name, facts.client);
        format!("X-MXDP-Forged-Sender: {client} is no host of {owner}, whose domain this is\r\n")
    });
    let headers = forged.into_iter().chain(tagged).collect();
    Ok(Permit { backend: domain.backend.clone(), headers })
}

/// What every stage finds, in order, whatever those before it say.
pub fn explain(
    policy: &Policy,
    facts: &Facts<'_>,
    recipient: &ForwardPath,
    memory: &mut dyn Memory,
) -> Vec<Finding> {
    let finding = |stage, outcome: RcptOutcome| match outcome {
        Ok(note) => Finding { stage, refusal: None, note, needs: None },
        Err(Stop::Refused(refusal)) => {
            let note = refusal.rule.as_ref().map_or_else(String::new, ToString::to_string);
            Finding { stage, refusal: Some(refusal), note, needs: None }
        }
        Err(Stop::Needs(need)) => {
            Finding { stage, refusal: None, note: "not asked".to_owned(), needs: Some(need) }
        }
    };
    let mail =
        MAIL.iter().map(|(stage, code)| finding(*stage, code(policy, facts).map_err(Stop::from)));
    let mut findings: Vec<_> = mail.collect();
    for (stage, code) in rcpt_stages(facts.direction) {
        findings.push(finding(*stage, code(policy, facts, recipient, memory)));
    }
    findings
}

impl Policy {
    /// Whose host the client is.
    #[must_use]
    pub fn customer(&self, facts: &Facts<'_>) -> Option<&Customer> {
        let certificate = facts.tls.and_then(|tls| tls.certificate.as_deref());
        self.relay.customer_of(facts.client, certificate)
    }

    /// Whose domain the sender has, where the client is no host of theirs.
    fn forged(&self, facts: &Facts<'_>) -> Option<&Customer> {
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
}

fn tls(policy: &Policy, facts: &Facts<'_>) -> MailOutcome {
    let domain = facts.sender.mailbox().and_then(|mailbox| mailbox.domain());
    policy.tls.check(facts.client, domain, facts.tls)?;
    Ok(facts.tls.map_or_else(|| "no TLS, and none is needed".to_owned(), |tls| tls.text.clone()))
}

fn size(policy: &Policy, facts: &Facts<'_>) -> MailOutcome {
    match facts.size {
        Some(size) if size > policy.message_size => Err(Refusal::new(Reason::DeclaredSize, size)),
        Some(size) => Ok(format!("{size} octets of at most {}", policy.message_size)),
        None => Ok(format!("not declared; at most {} octets", policy.message_size)),
    }
}

fn sender(policy: &Policy, facts: &Facts<'_>, _: &ForwardPath, _: &mut dyn Memory) -> RcptOutcome {
    let Some(mailbox) = facts.sender.mailbox() else { return Ok("the null sender".to_owned()) };
    let Some(found) = policy.senders.find(mailbox) else { return Ok("on no list".to_owned()) };
    let rule =
        Rule { source: found.source.to_owned(), line: found.line, entry: found.pattern.to_owned() };
    match found.class {
        SenderClass::Approved => Ok(format!("approved: {rule}")),
        SenderClass::Blocked => {
            Err(Refusal::by(Reason::BlockedSender, format_args!("<{mailbox}>"), Some(rule)).into())
        }
    }
}

/// A customer's domain as the sender of a stranger.
fn forged(policy: &Policy, facts: &Facts<'_>, _: &ForwardPath, _: &mut dyn Memory) -> RcptOutcome {
    let Some(owner) = policy.forged(facts) else { return Ok("not forged".to_owned()) };
    let rule = policy.rule(owner.line, &owner.name);
    match policy.relay.own_domain {
        OwnDomain::Reject => {
            let subject = format_args!("<{}>", facts.sender);
            Err(Refusal::by(Reason::ForgedSender, subject, Some(rule)).into())
        }
        OwnDomain::Tag => Ok(format!("forged, and tagged: {rule}")),
        OwnDomain::Accept => Ok(format!("forged, and accepted: {rule}")),
    }
}

/// Whether the sender is approved, which excuses a bad reputation.
pub(super) fn is_approved(policy: &Policy, facts: &Facts<'_>) -> Result<bool, Stop> {
    let found = facts.sender.mailbox().and_then(|mailbox| policy.senders.find(mailbox));
    if found.is_none_or(|found| found.class != SenderClass::Approved) {
        return Ok(false);
    }
    if !policy.approve_requires_spf_pass {
        return Ok(true);
    }
    if unasked(facts.client, policy.ask_private).is_some() {
        return Ok(false);
    }
    let checked = facts.spf.ok_or(Stop::Needs(Need::Spf))?;
    Ok(checked.evaluation.outcome == Outcome::Pass)
}

fn relay_denied(recipient: &ForwardPath) -> Refusal {
    Refusal::new(Reason::RelayDenied, format_args!("<{recipient}>"))
}

fn relay(policy: &Policy, _: &Facts<'_>, path: &ForwardPath, _: &mut dyn Memory) -> RcptOutcome {
    let domain = policy.domain_of(path).ok_or_else(|| relay_denied(path))?;
    // `user%elsewhere@ours`, `elsewhere!user@ours` and `"user@elsewhere"@ours` ask
    // the mail system to relay (RFC 5321 section 3.6.1), and it may trust this host
    // more than its clients.
    let route = path.mailbox().filter(|mailbox| mailbox.local().contains(['%', '!', '@']));
    // Unless it is the whole name of a mailbox.
    if route.is_some_and(|mailbox| !policy.recipients.names(mailbox)) {
        return Err(relay_denied(path).into());
    }
    Ok(format!("to {} ({}:{})", domain.backend, policy.source, domain.line))
}

fn connection(
    policy: &Policy,
    facts: &Facts<'_>,
    _: &ForwardPath,
    _: &mut dyn Memory,
) -> RcptOutcome {
    if let Some(rule) = &facts.connection.approved {
        return Ok(format!("approved: {rule}"));
    }
    let Some((reason, rule)) = &facts.connection.refused else {
        return Ok("on no list".to_owned());
    };
    // An approved sender excuses what reputation says, not what the postmaster
    // has blocked.
    let excusable = matches!(reason, Reason::KnownSpamSource | Reason::TemporaryBlock);
    if excusable && is_approved(policy, facts)? {
        return Ok(format!("{}, excused by the approved sender", reason.name()));
    }
    Err(Refusal::by(*reason, facts.client, rule.clone()).into())
}

/// The DNS lists, for an address that no list decides about.
fn reputation(
    policy: &Policy,
    facts: &Facts<'_>,
    _: &ForwardPath,
    _: &mut dyn Memory,
) -> RcptOutcome {
    if !policy.reputation.is_on() {
        return Ok("no zone is configured".to_owned());
    }
    if facts.connection.approved.is_some() {
        return Ok("not asked: the client is approved".to_owned());
    }
    if let Some(why) = unasked(facts.client, policy.ask_private) {
        return Ok(format!("not asked: {why}"));
    }
    if is_approved(policy, facts)? {
        return Ok("not asked: the sender is approved".to_owned());
    }
    let verdict = facts.reputation.ok_or(Stop::Needs(Need::Reputation))?;
    match policy.reputation.refusal(verdict, facts.client, &policy.source) {
        Some(refusal) => Err(refusal.into()),
        None => Ok(verdict.note()),
    }
}

fn spf(policy: &Policy, facts: &Facts<'_>, path: &ForwardPath, _: &mut dyn Memory) -> RcptOutcome {
    let Some(domain) = policy.domain_of(path) else { return Ok("not checked".to_owned()) };
    let Some(actions) = &domain.spf else { return Ok("not checked for this domain".to_owned()) };
    if policy.spf.exempt.iter().any(|network| network.contains(&facts.client)) {
        return Ok("not checked: the client is exempt".to_owned());
    }
    if let Some(why) = unasked(facts.client, policy.ask_private) {
        return Ok(format!("not checked: {why}"));
    }
    let checked = facts.spf.ok_or(Stop::Needs(Need::Spf))?;
    let evaluation = &checked.evaluation;
    let rule = Rule { source: policy.source.clone(), line: domain.line, entry: String::new() };
    match policy.spf.refusal(actions, evaluation, rule, facts.connection.approved.as_ref()) {
        Some(refusal) => Err(refusal.into()),
        None => Ok(format!("{}: {}", evaluation.outcome.name(), evaluation.summary())),
    }
}

pub(super) fn rate(
    policy: &Policy,
    facts: &Facts<'_>,
    path: &ForwardPath,
    memory: &mut dyn Memory,
) -> RcptOutcome {
    // What comes in is counted by its address alone, whoever it is.
    let customer = match facts.direction {
        Direction::Inbound => None,
        Direction::Outgoing => policy.customer(facts).map(|customer| &customer.name),
    };
    if memory.take_rate(facts.client, customer, path) {
        Ok("within the limits".to_owned())
    } else {
        Err(Refusal::new(Reason::RateLimit, facts.client).into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::domains::RecipientSource;
    use super::*;
    use crate::smtp::address::{Domain, Mailbox};

    struct Nothing;

    impl Memory for Nothing {
        fn is_known_invalid(&self, _: &Facts<'_>, _: &ForwardPath) -> bool {
            false
        }

        fn is_deferred(&self, _: IpAddr, _: bool, _: &Witness) -> bool {
            false
        }

        fn is_suspended(&self, _: IpAddr, _: &Arc<str>) -> bool {
            false
        }

        fn take_rate(&mut self, _: IpAddr, _: Option<&Arc<str>>, _: &ForwardPath) -> bool {
            true
        }
    }

    #[test]
    fn no_recipient_routes_through_the_mail_system() {
        let mut policy = Policy::default();
        let ours = DomainPolicy {
            backend: "b".into(),
            recipients: RecipientSource::Backend,
            subaddress: None,
            spf: None,
            line: 1,
        };
        policy.domains.add(&Domain::parse("example.org").unwrap(), false, ours);
        let facts = Facts {
            client: [192, 0, 2, 1].into(),
            tls: None,
            connection: &Connection::default(),
            sender: &ReversePath::Null,
            size: None,
            reputation: None,
            spf: None,
            place: None,
            direction: Direction::Inbound,
        };
        let refused = |recipient: &str| {
            let path = ForwardPath::Mailbox(Mailbox::parse(recipient).unwrap());
            match rcpt(&policy, &facts, &path, &mut Nothing) {
                Err(Stop::Refused(refusal)) => Some(refusal.reason),
                _ => None,
            }
        };
        assert_eq!(refused("bob@example.org"), None);
        assert_eq!(refused("bob+x=y@Example.ORG"), None);
        for recipient in [
            "bob%elsewhere.example@example.org",
            "elsewhere.example!bob@example.org",
            "\"bob@elsewhere.example\"@example.org",
            "\"bob\\@elsewhere.example\"@example.org",
            "bob@elsewhere.example",
            "bob@[192.0.2.2]",
        ] {
            assert_eq!(refused(recipient), Some(Reason::RelayDenied), "{recipient}");
        }
    }
}
