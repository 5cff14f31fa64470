//! What the stages remember across sessions, as they see it.

use std::net::IpAddr;
use std::time::Instant;

use super::edge::{Edge, network};
use crate::policy::pipeline::Memory;
use crate::smtp::address::ForwardPath;

/// Counts that a session's questions need.
pub(super) struct Shared<'a>(pub(super) &'a Edge);

impl Memory for Shared<'_> {
    fn is_suspended(&self, client: IpAddr) -> bool {
        self.0.counts().watch.is_suspended(network(client), Instant::now())
    }

    fn is_known_invalid(&self, recipient: &ForwardPath) -> bool {
        let key = recipient.mailbox().map(|mailbox| mailbox.key());
        key.is_some_and(|key| self.0.counts().invalid.has(key.as_str(), Instant::now()))
    }

    fn take_rate(&mut self, client: IpAddr, recipient: &ForwardPath) -> bool {
        let mut counts = self.0.counts();
        let now = Instant::now();
        let (client, recipient) = (network(client), recipient.to_string().to_lowercase());
        // Neither is charged for what the other refuses.
        counts.per_address.has_room(&client, now)
            && counts.per_recipient.take(recipient, now)
            && counts.per_address.take(client, now)
    }
}

/// Looks at counts, and changes none: for explanations.
#[derive(Clone, Copy, Debug)]
pub struct Peek<'a>(pub &'a Edge);

impl Memory for Peek<'_> {
    fn is_suspended(&self, client: IpAddr) -> bool {
        Shared(self.0).is_suspended(client)
    }

    fn is_known_invalid(&self, recipient: &ForwardPath) -> bool {
        Shared(self.0).is_known_invalid(recipient)
    }

    fn take_rate(&mut self, client: IpAddr, recipient: &ForwardPath) -> bool {
        let counts = self.0.counts();
        let now = Instant::now();
        counts.per_address.has_room(&network(client), now)
            && counts.per_recipient.has_room(&recipient.to_string().to_lowercase(), now)
    }
}
