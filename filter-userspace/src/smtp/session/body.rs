//! A message under way: announced, streaming, skipped, or with the backend.

use std::sync::Arc;
use std::time::Instant;

use super::facts::{Now, Settings};
use super::pace::Pace;
use crate::smtp::data::{Decoder, Stuffer};
use crate::smtp::header::{HeaderScan, MessageFacts};
use crate::smtp::refusal::Refusal;
use crate::smtp::reply::Reply;

/// Octets that are announced by BDAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) size: u64,
    pub(super) left: u64,
    pub(super) last: bool,
}

impl Chunk {
    pub(super) const fn new(size: u64, last: bool) -> Self {
        Self { size, left: size, last }
    }
}

/// A message for which DATA was sent to the backend.
#[derive(Debug)]
pub(super) struct Begin {
    pub(super) chunk: Option<Chunk>,
}

/// A message that streams.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) decoder: Decoder,
    pub(super) stuffer: Stuffer,
    pub(super) scan: HeaderScan,
    /// The octets of the message, without dots for transparency.
    pub(super) size: u64,
    /// The octets that have arrived for it.
    pub(super) came: u64,
    /// Why it will be refused: the rest is read and discarded.
    pub(super) refused: Option<Refusal>,
    /// The current chunk; none in DATA.
    pub(super) chunk: Option<Chunk>,
    pub(super) reference: String,
    pub(super) pace: Pace,
    /// Since when the client is not read, because the backend accepts no bytes.
    pub(super) blocked: Option<Instant>,
}

impl Message {
    pub(super) const fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Refuses the message; the first reason counts.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.refused.get_or_insert(refusal);
    }

    /// The backend accepts bytes again: the time until now does not count against the client.
    pub(super) fn resume(&mut self, now: Now) {
        if let Some(since) = self.blocked.take() {
            self.pace.forgive(since, now.monotonic);
        }
    }

    /// When the next bytes must have arrived.
    pub(super) fn deadline(&self, settings: &Settings) -> Instant {
        self.pace.deadline(&settings.times)
    }

    /// Notes bytes that arrived; false if they arrived too slowly.
    pub(super) fn took(&mut self, count: u64, settings: &Settings, now: Now) -> bool {
        self.came += count;
        self.pace.took(count, &settings.times, now.monotonic)
    }
}

/// Octets that are discarded, and the reply that follows them.
#[derive(Debug)]
pub(super) struct Skip {
    pub(super) left: u64,
    pub(super) reply: Reply,
    pub(super) pace: Pace,
}

impl Skip {
    /// When the next bytes must have arrived.
    pub(super) fn deadline(&self, settings: &Settings) -> Instant {
        self.pace.deadline(&settings.times)
    }
}

/// A message that is with the backend.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) facts: Arc<MessageFacts>,
    pub(super) size: u64,
    pub(super) reference: String,
    /// Whether the client is still waiting for the reply.
    pub(super) heard: bool,
}

impl Ending {
    /// The client has gone.
    pub(super) fn unheard(self) -> Self {
        Self { heard: false, ..self }
    }
}
