//! What stages decide by: the facts of a message, what the network says about them, and the
//! history.

use std::net::IpAddr;
use std::sync::Arc;

use super::evidence::Witness;
use super::relay::{Deliverability, Direction};
use super::reputation::Verdict;
use crate::smtp::address::{ForwardPath, ReversePath};
use crate::smtp::refusal::{Reason, Refusal, Rule};
use crate::smtp::session::Tls;
use crate::spf::Evaluation;

/// The packet filter's lists on the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Whether the address or its country is approved, and by which rule.
    pub approved: Option<Rule>,
    /// Why it is refused, and by which rule.
    pub refused: Option<(Reason, Option<Rule>)>,
}

/// What is known about an address before its session begins.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The verdict of the lists.
    pub connection: Connection,
    /// Its country.
    pub country: Option<String>,
}

/// The facts of a message, from MAIL on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The direction of the message.
    pub direction: Direction,
    /// The client's address.
    pub client: IpAddr,
    /// The name in the client's HELO or EHLO.
    pub helo: String,
    /// TLS in use.
    pub tls: Option<Tls>,
    /// The verdict of the lists on the client.
    pub connection: Connection,
    /// The sender.
    pub sender: ReversePath,
    /// The size that MAIL declares.
    pub size: Option<u64>,
}

/// The answers of the network so far.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The verdict of DNS lists on the client.
    pub reputation: Option<Verdict>,
    /// The result of SPF for the sender.
    pub spf: Option<Checked>,
    /// Whether the domain of a recipient accepts mail, for the last recipient that was queried.
    pub deliverability: Option<(ForwardPath, Deliverability)>,
}

impl Known {
    /// Adds new answers of the network.
    pub fn update(&mut self, learnt: Self) {
        let Self { reputation, spf, deliverability } = learnt;
        self.reputation = reputation.or(self.reputation.take());
        self.spf = spf.or(self.spf.take());
        self.deliverability = deliverability.or(self.deliverability.take());
    }

    /// The verdict of DNS lists on the client.
    ///
    /// # Errors
    ///
    /// When they have not been queried.
    pub fn reputation(&self) -> Result<&Verdict, Stop> {
        self.reputation.as_ref().ok_or(Stop::Needs(Need::Reputation))
    }

    /// The result of SPF for the sender.
    ///
    /// # Errors
    ///
    /// When it has not been evaluated.
    pub fn spf(&self) -> Result<&Checked, Stop> {
        self.spf.as_ref().ok_or(Stop::Needs(Need::Spf))
    }

    /// Whether the recipient's domain accepts mail.
    ///
    /// # Errors
    ///
    /// When that has not been queried for this recipient.
    pub fn deliverability(&self, recipient: &ForwardPath) -> Result<&Deliverability, Stop> {
        let known = self.deliverability.as_ref().filter(|(path, _)| path == recipient);
        known.map(|(_, found)| found).ok_or(Stop::Needs(Need::Deliverability))
    }
}

/// An evaluation of SPF, with its header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The result.
    pub evaluation: Evaluation,
    /// The field Received-SPF, with its final CRLF.
    pub field: String,
}

/// What a stage must learn from the network before it can decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The verdict of DNS lists on the client.
    Reputation,
    /// The result of SPF for the sender.
    Spf,
    /// Whether the recipient's domain accepts mail.
    Deliverability,
}

/// Why the walk over the stages stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A stage refuses.
    Refused(Refusal),
    /// A stage must learn something first.
    Needs(Need),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The history of earlier messages.
pub trait History {
    /// Whether the backend has recently told this very client, for this sender, that there is no
    /// such recipient.
    fn is_known_invalid(&self, facts: &Facts, recipient: &ForwardPath) -> bool;
    /// Whether recipients of a client are deferred because it named mostly invalid ones. Recipients
    /// of the null sender are counted separately, and so are those that only the backend of their
    /// domain reports as invalid.
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

/// The history where no daemon runs: empty.
#[derive(Clone, Copy, Debug)]
pub struct NoHistory;

impl History for NoHistory {
    fn is_known_invalid(&self, _: &Facts, _: &ForwardPath) -> bool {
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
