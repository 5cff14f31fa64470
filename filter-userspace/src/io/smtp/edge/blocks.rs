//! Temporary blocks, as sessions see them: which addresses are blocked, and which never are.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::Edge;
use crate::io::smtp::backend::Pool;
use crate::lists::{ClientNetwork, Holder, Protected};

impl Edge {
    /// Sets which addresses are never blocked automatically.
    pub fn publish_protected(&self, protected: Arc<Protected>) {
        *self.protected.write().unwrap_or_else(PoisonError::into_inner) = protected;
    }

    /// The addresses that are never blocked automatically.
    pub(in crate::io::smtp) fn protected(&self) -> Arc<Protected> {
        self.protected.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The addresses at which servers of backends were reached, by the backends' names.
    #[must_use]
    pub fn backend_addresses(&self) -> Vec<(String, IpAddr)> {
        let generation = self.generation();
        let of = |pool: &Arc<Pool>| {
            let name = pool.config.name.to_string();
            pool.addresses().into_iter().map(|address| (name.clone(), address)).collect::<Vec<_>>()
        };
        generation.pools.values().flat_map(of).collect()
    }

    /// Sets the addresses under a temporary block, each with its remaining time and its total time.
    pub fn publish_blocks(&self, blocks: impl Iterator<Item = (IpAddr, Duration, Duration)>) {
        let now = Instant::now();
        let blocks =
            blocks.map(|(address, left, time)| (ClientNetwork::of(address), now + left, time));
        let blocks: Vec<_> = blocks.collect();
        let mut counts = self.counts();
        counts.blocked = blocks.iter().map(|(address, end, _)| (*address, *end)).collect();
        for (address, end, time) in blocks {
            counts.offenders.remember(address, time, end);
        }
    }

    /// Adds one temporary block.
    pub fn publish_block(&self, address: IpAddr, time: Duration) {
        let (address, end) = (ClientNetwork::of(address), Instant::now() + time);
        let mut counts = self.counts();
        counts.blocked.insert(address, end);
        counts.offenders.remember(address, time, end);
    }

    /// Notes that blocks have expired; their history is kept.
    pub fn end_blocks(&self, addresses: impl Iterator<Item = IpAddr>) {
        let mut counts = self.counts();
        for address in addresses {
            counts.blocked.remove(&ClientNetwork::of(address));
        }
    }

    /// Notes a block that ended before this daemon began, `ago`.
    pub fn remember_block(&self, client: ClientNetwork, time: Duration, ago: Duration) {
        let Some(end) = Instant::now().checked_sub(ago) else { return };
        self.counts().offenders.remember(client, time, end);
    }

    /// The blocks that ended less than `memory` ago: how long each was, and how long ago it ended.
    #[must_use]
    pub fn ended_blocks(&self, memory: Duration) -> Vec<(ClientNetwork, Duration, Duration)> {
        self.counts().offenders.ended(Instant::now(), memory)
    }

    /// Notes an address that delivered mail before this daemon began, `ago`. After a start of the
    /// host that may be longer ago than its clock can represent: then it counts as recent.
    pub fn remember_delivery(&self, client: ClientNetwork, ago: Duration) {
        let now = Instant::now();
        let at = now.checked_sub(ago).unwrap_or(now);
        self.counts().offenders.remember_delivery(client, at);
    }

    /// The addresses that delivered mail less than `memory` ago, and how long ago.
    #[must_use]
    pub fn deliveries(&self, memory: Duration) -> Vec<(ClientNetwork, Duration)> {
        self.counts().offenders.deliveries(Instant::now(), memory)
    }

    /// Removes one.
    pub fn lift_block(&self, address: IpAddr) {
        let address = ClientNetwork::of(address);
        let mut counts = self.counts();
        counts.blocked.remove(&address);
        counts.offenders.forgive(address);
    }

    /// An operator lifts every measure against an address; returns the remaining time for which its
    /// recipients were deferred.
    pub fn pardon(&self, address: IpAddr) -> Option<Duration> {
        self.lift_block(address);
        self.counts().offenders.pardon(ClientNetwork::of(address), Instant::now())
    }

    /// Whether a temporary block applies to an address.
    pub(super) fn is_blocked(&self, address: IpAddr) -> bool {
        let until = self.counts().blocked.get(&ClientNetwork::of(address)).copied();
        until.is_some_and(|until| until > Instant::now())
            // A stranger's block in the host's own IPv6 network does not apply to the host.
            && !(ClientNetwork::of(address).first() != address.to_canonical()
                && self.protected().forbids(address) == Some(&Holder::ThisHost))
    }
}
