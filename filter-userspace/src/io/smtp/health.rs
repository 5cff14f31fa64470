//! The state of the edge: for people, alarms and the mail log.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::backend::ServerHealth;
use super::edge::Edge;
use super::handshakes::{Cause, Failed, Peer};
use crate::io::certificates::Facts;
use crate::io::dns::NO_SERVER;
use crate::policy::reputation::ZoneState;

/// The state of the edge, for people.
#[derive(Clone, Debug)]
pub struct SmtpStatus {
    /// Connections that are open.
    pub open: u64,
    /// Connections since the start of the daemon.
    pub connections: u64,
    /// Recipients whose message was delivered to the backend.
    pub accepted: u64,
    /// Recipients that were refused, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Records that are missing from the log.
    pub unlogged: u64,
    /// Connections of balancers that closed without a byte, and those without a valid header.
    pub balancers: (u64, u64),
    /// The backend servers.
    pub servers: Vec<ServerHealth>,
    /// The DNS lists.
    pub zones: Vec<ZoneState>,
    /// TLS handshakes that failed, by cause.
    pub handshakes: Vec<(&'static str, u64)>,
}

impl Edge {
    /// The state of everything, for people.
    #[must_use]
    pub fn status(&self) -> SmtpStatus {
        let generation = self.generation();
        let mut servers: Vec<_> =
            generation.pools.values().flat_map(|pool| pool.health()).collect();
        servers.sort_by(|a, b| (&a.backend, &a.server).cmp(&(&b.backend, &b.server)));
        let (accepted, refused) = self.events.totals();
        SmtpStatus {
            open: self.open.load(Ordering::Relaxed),
            connections: self.total.load(Ordering::Relaxed),
            accepted,
            refused,
            unlogged: self.events.unlogged(),
            balancers: self.balancers.counts(),
            servers,
            zones: self.zones.health(&generation.policy.reputation),
            handshakes: self.handshakes.totals(),
        }
    }

    /// The resources that the edge lacks, for people.
    #[must_use]
    pub fn shortages(&self) -> Vec<String> {
        let accept_error = self.accept_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let accept_error = accept_error.map(|why| format!("connections cannot be accepted: {why}"));
        let generation = self.generation();
        let lacks_servers = generation.asks_dns() && generation.resolver.lacks_servers();
        let unserved = lacks_servers.then(|| NO_SERVER.to_owned());
        accept_error.into_iter().chain(self.memory.shortage()).chain(unserved).collect()
    }

    /// The certificates that are served.
    #[must_use]
    pub fn certificates(&self) -> Vec<Facts> {
        self.generation().certificates.clone()
    }

    /// Counts and records a failed TLS handshake with a client.
    pub(super) fn handshake_failed(&self, peer: Peer, cause: Cause, why: &str) {
        if let Some(failed) = self.handshakes.add(peer, cause, why) {
            self.record_failed(&failed);
        }
    }

    /// Records the folded handshakes that are due.
    pub(super) fn record_handshakes(&self, all: bool) {
        for failed in self.handshakes.due(Instant::now(), all) {
            self.record_failed(&failed);
        }
    }

    fn record_failed(&self, failed: &Failed) {
        let country = self.standing(failed.client).country;
        self.events.add_handshake(failed, country);
    }
}
