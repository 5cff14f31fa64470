//! The conduct of clients across all connections: recipients that do not exist, offences, and the
//! measures against them. `policy` decides; this file remembers and carries out.

use std::hash::{BuildHasher as _, Hash};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::edge::{Block, Edge};
use super::generation::Generation;
use crate::lists::ClientNetwork;
use crate::policy::escalation::Measure;
use crate::policy::evidence::Witness;
use crate::policy::offences::Sign;
use crate::smtp::address::{ForwardPath, ReversePath};

/// How long a backend's refusal of a recipient is remembered.
const NEGATIVE: Duration = Duration::from_secs(60);

impl Edge {
    /// Remembers that the backend told a client that there is no such recipient. It may answer
    /// differently to other clients and senders, so the answer is not used for them.
    pub(super) fn remember_invalid(
        &self,
        client: IpAddr,
        sender: &ReversePath,
        recipient: &ForwardPath,
    ) {
        let key = self.key(client, sender, recipient);
        self.counts().invalid.add(key, Instant::now() + NEGATIVE);
    }

    /// Whether the backend did so lately.
    pub(super) fn is_known_invalid(
        &self,
        client: IpAddr,
        sender: &ReversePath,
        recipient: &ForwardPath,
    ) -> bool {
        let key = self.key(client, sender, recipient);
        self.counts().invalid.has(&key, Instant::now())
    }

    /// A key of a fixed length, whatever the client writes.
    fn key(&self, client: IpAddr, sender: &ReversePath, recipient: &ForwardPath) -> u128 {
        let recipient = recipient.mailbox().map(|mailbox| mailbox.key());
        let sender = sender.mailbox().map(|mailbox| mailbox.key());
        self.hash(&(client, sender, recipient))
    }

    /// The key by which the rate of a recipient is counted.
    pub(super) fn recipient_key(&self, recipient: &ForwardPath) -> u128 {
        self.hash(&recipient.to_string().to_lowercase())
    }

    fn hash(&self, facts: &impl Hash) -> u128 {
        let [high, low] = self.hashers.each_ref().map(|hasher| hasher.hash_one(facts));
        u128::from(high) << 64 | u128::from(low)
    }

    /// Whether recipients of a client are deferred, in domains of a backend.
    pub(super) fn is_deferred(&self, client: IpAddr, bounces: bool, backend: &Witness) -> bool {
        let now = Instant::now();
        self.counts().offenders.is_deferred(ClientNetwork::of(client), bounces, backend, now)
    }

    /// Counts what an attempt shows about a client, and carries out the measure.
    pub(super) fn note(
        &self,
        address: IpAddr,
        generation: &Generation,
        sign: Sign,
        witness: &Witness,
    ) {
        if sign == Sign::Nothing {
            return;
        }
        // If a list decides about the client, a block would have no effect (and lists may have
        // changed since the session began).
        let connection = self.standing(address).connection;
        if connection.approved.is_some() || connection.refused.is_some() {
            return;
        }
        if let Some(holder) = self.protected().forbids(address) {
            if let Sign::Offence(offence) = sign {
                let offence = offence.name();
                tracing::debug!(%address, offence, "an offence of {holder} is not counted");
            }
            return;
        }
        let rules = &generation.smtp.escalation;
        let (client, said) = (ClientNetwork::of(address), (sign, witness));
        let measure = self.counts().offenders.note(rules, client, said, Instant::now());
        match measure {
            None => {}
            Some(Measure::Defer { bounces, time, of }) => {
                let seconds = time.as_secs();
                let backend = match &of {
                    Witness::Own => "every",
                    Witness::Backend(name) => name,
                };
                tracing::warn!(
                    %address,
                    bounces,
                    backend,
                    seconds,
                    "the client names mostly invalid recipients and is deferred"
                );
            }
            Some(Measure::Block(offence, time)) => self.ask_for(Block { address, time, offence }),
        }
    }

    /// Requests a block from the daemon's thread; never waits.
    fn ask_for(&self, block: Block) {
        let Block { address, offence, .. } = block;
        if self.blocks.try_send(block).is_err() {
            self.counts().offenders.forgive(ClientNetwork::of(address));
            let offence = offence.name();
            tracing::error!(%address, offence, "a temporary block was lost: too many requests at once");
        }
    }
}
