//! The history of clients and recipients across sessions, for the stages.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::edge::Edge;
use crate::lists::ClientNetwork;
use crate::policy::evidence::Witness;
use crate::policy::facts::{Facts, History};
use crate::smtp::address::ForwardPath;

/// The history for a session's questions.
pub(super) struct Shared<'a>(pub(super) &'a Edge);

impl History for Shared<'_> {
    fn is_suspended(&self, client: IpAddr, customer: &Arc<str>) -> bool {
        self.0.counts().watch.is_suspended(ClientNetwork::of(client), customer, Instant::now())
    }

    fn is_known_invalid(&self, facts: &Facts, recipient: &ForwardPath) -> bool {
        self.0.is_known_invalid(facts.client, &facts.sender, recipient)
    }

    fn is_deferred(&self, client: IpAddr, bounces: bool, backend: &Witness) -> bool {
        self.0.is_deferred(client, bounces, backend)
    }

    fn take_rate(
        &mut self,
        client: IpAddr,
        customer: Option<&Arc<str>>,
        recipient: &ForwardPath,
    ) -> bool {
        let client = (ClientNetwork::of(client), customer.cloned());
        let recipient = self.0.recipient_key(recipient);
        let mut counts = self.0.counts();
        let now = Instant::now();
        // Neither rate is charged for what the other refuses.
        counts.per_address.has_room(&client, now)
            && counts.per_recipient.take(recipient, now)
            && counts.per_address.take(client, now)
    }
}

/// The history without changing counts: for explanations.
#[derive(Clone, Copy, Debug)]
pub struct Peek<'a>(pub &'a Edge);

impl History for Peek<'_> {
    fn is_suspended(&self, client: IpAddr, customer: &Arc<str>) -> bool {
        Shared(self.0).is_suspended(client, customer)
    }

    fn is_known_invalid(&self, facts: &Facts, recipient: &ForwardPath) -> bool {
        Shared(self.0).is_known_invalid(facts, recipient)
    }

    fn is_deferred(&self, client: IpAddr, bounces: bool, backend: &Witness) -> bool {
        Shared(self.0).is_deferred(client, bounces, backend)
    }

    fn take_rate(
        &mut self,
        client: IpAddr,
        customer: Option<&Arc<str>>,
        recipient: &ForwardPath,
    ) -> bool {
        let recipient = self.0.recipient_key(recipient);
        let counts = self.0.counts();
        let now = Instant::now();
        counts.per_address.has_room(&(ClientNetwork::of(client), customer.cloned()), now)
            && counts.per_recipient.has_room(&recipient, now)
    }
}
