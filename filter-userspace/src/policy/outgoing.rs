//! The stages at RCPT of what goes out: rows of the pipeline.

use super::pipeline::{Facts, Memory, Need, Policy, RcptOutcome, RcptStage, Stop, rate};
use super::relay::Place;
use crate::smtp::address::ForwardPath;
use crate::smtp::refusal::{Reason, Refusal, Rule, Stage};

/// The stages at RCPT of what goes out.
pub(super) const STAGES: &[(Stage, RcptStage)] = &[
    (Stage::Relay, customer),
    (Stage::Relay, suspended),
    (Stage::Sender, registered),
    (Stage::Recipient, place),
    (Stage::Rate, rate),
];

/// Whether the client is a host of anybody who may send out.
fn customer(
    policy: &Policy,
    facts: &Facts<'_>,
    _: &ForwardPath,
    _: &mut dyn Memory,
) -> RcptOutcome {
    match policy.customer(facts) {
        Some(customer) => Ok(policy.rule(customer.line, &customer.name).to_string()),
        None => Err(Refusal::new(Reason::NotACustomer, facts.client).into()),
    }
}

fn suspended(
    policy: &Policy,
    facts: &Facts<'_>,
    _: &ForwardPath,
    memory: &mut dyn Memory,
) -> RcptOutcome {
    let customer = policy.customer(facts);
    if customer.is_some_and(|one| memory.is_suspended(facts.client, &one.name)) {
        return Err(Refusal::new(Reason::RelaySuspended, facts.client).into());
    }
    Ok("the host is not suspended".to_owned())
}

/// Whether the sender's domain is the customer's.
fn registered(
    policy: &Policy,
    facts: &Facts<'_>,
    _: &ForwardPath,
    _: &mut dyn Memory,
) -> RcptOutcome {
    let Some(mailbox) = facts.sender.mailbox() else { return Ok("the null sender".to_owned()) };
    let owner = mailbox.domain().and_then(|domain| policy.relay.owner_of(domain));
    let subject = format_args!("<{}>", facts.sender);
    match (owner, policy.customer(facts)) {
        (Some(owner), Some(customer)) if owner.name == customer.name => {
            Ok("a domain of the customer".to_owned())
        }
        (Some(owner), _) => {
            let rule = policy.rule(owner.line, &owner.name);
            Err(Refusal::by(Reason::ForgedSender, subject, Some(rule)).into())
        }
        (None, customer) => {
            let rule = customer.map(|customer| policy.rule(customer.line, &customer.name));
            Err(Refusal::by(Reason::SenderNotRegistered, subject, rule).into())
        }
    }
}

/// Whether mail for the recipient's domain has a place to go.
fn place(
    policy: &Policy,
    facts: &Facts<'_>,
    path: &ForwardPath,
    _: &mut dyn Memory,
) -> RcptOutcome {
    let Some(mailbox) = path.mailbox() else { return Ok("the backend's own".to_owned()) };
    if mailbox.domain().is_none() {
        return Ok("an address, which needs no look-up".to_owned());
    }
    // It need not be in the DNS that is asked here.
    if policy.domain_of(path).is_some() {
        return Ok("a domain that is served here".to_owned());
    }
    let refused = |reason| Err(Refusal::new(reason, format_args!("<{path}>")).into());
    match facts.place.ok_or(Stop::Needs(Need::Place))? {
        Place::Known => Ok("the domain resolves".to_owned()),
        Place::None => refused(Reason::NoSuchDomain),
        Place::NullMx => refused(Reason::NullMx),
        Place::Unknown(why) => {
            let rule = Rule { source: "DNS".to_owned(), line: 0, entry: why.clone() };
            let subject = format_args!("<{path}>");
            Err(Refusal::by(Reason::DomainUnknownNow, subject, Some(rule)).into())
        }
    }
}
