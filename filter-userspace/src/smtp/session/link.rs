//! A connection to a backend, as a session sees it.

use std::time::Instant;

use super::facts::{BackendName, BackendTimes, Capabilities, Now, Opened};
use crate::smtp::reply::Replies;

/// The bytes for the backend that may wait before the client is no longer read.
pub(super) const BACKEND_HIGH: usize = 128 * 1024;

/// Bytes that wait to be sent.
#[derive(Debug, Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    /// The bytes to send.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// Their number.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `count` bytes were sent.
    pub fn sent(&mut self, count: usize) {
        self.sent += count.min(self.len());
        if self.is_empty() {
            self.sent = 0;
            // An idle connection holds no buffer.
            if self.bytes.capacity() > 4096 {
                self.bytes = Vec::new();
            }
            self.bytes.clear();
        } else if self.sent > BACKEND_HIGH {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    pub(super) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

/// A connection to a backend.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) backend: BackendName,
    pub(super) address: String,
    pub(super) capabilities: Capabilities,
    pub(super) out: Outgoing,
    pub(super) replies: Replies,
    /// Whether a transaction has begun that must be reset.
    pub(super) dirty: bool,
    /// Whether it has been used before: then it may have been closed meanwhile.
    pub(super) used: bool,
    /// When it last accepted bytes.
    pub(super) took: Instant,
    pub(super) times: BackendTimes,
    /// Whether bytes that it accepted are still waiting to be sent, because TLS holds them.
    pub(super) held_back: bool,
}

impl Link {
    /// Whether everything that was written has been sent.
    pub(super) fn has_sent_all(&self) -> bool {
        self.out.is_empty() && !self.held_back
    }

    /// Whether bytes of the backend are left that no reply was made of.
    pub(super) fn has_more_replies(&self) -> bool {
        !self.replies.is_empty()
    }

    pub(super) fn new(backend: BackendName, opened: Opened, now: Now) -> Self {
        Self {
            backend,
            address: opened.address,
            capabilities: opened.capabilities,
            out: Outgoing::default(),
            replies: Replies::default(),
            dirty: false,
            used: false,
            took: now.monotonic,
            times: opened.times,
            held_back: false,
        }
    }

    /// Adds a command, or a part of one.
    pub(super) fn write(&mut self, text: &str, now: Now) {
        if self.out.is_empty() {
            self.took = now.monotonic;
        }
        self.out.buffer().extend_from_slice(text.as_bytes());
    }
}
