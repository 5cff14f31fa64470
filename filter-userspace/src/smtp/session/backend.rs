//! The backend's side of a session.

use std::time::{Duration, Instant};

use super::facts::{Action, BackendTimes, Now};
use super::link::{BACKEND_HIGH, Outgoing};
use super::state::{Session, State};
use crate::smtp::refusal::{Reason, Refusal};
use crate::smtp::reply::Reply;

impl Session {
    /// Bytes for the backend.
    pub fn to_backend(&mut self) -> Option<&mut Outgoing> {
        self.link.as_mut().map(|link| &mut link.out)
    }

    /// The backend accepted bytes.
    pub fn backend_took(&mut self, now: Now) {
        if let Some(link) = &mut self.link {
            link.took = now.monotonic;
        }
        if !self.backend_blocks()
            && let State::Message(message) = &mut self.state
        {
            message.resume(now);
        }
    }

    /// Whether bytes that were accepted for the backend have not left this host: TLS may hold them
    /// back while the backend accepts none.
    pub fn backend_holds_back(&mut self, holds: bool) {
        if let Some(link) = &mut self.link {
            link.held_back = holds;
        }
    }

    /// When waiting for the backend ends; without a backend, at once.
    pub(super) fn backend_due(
        &self,
        time: impl FnOnce(&BackendTimes) -> Duration,
        now: Now,
    ) -> Instant {
        self.link.as_ref().map_or(now.monotonic, |link| now.monotonic + time(&link.times))
    }

    /// Whether too many bytes are waiting for the backend.
    pub(super) fn backend_blocks(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.out.len() > BACKEND_HIGH)
    }

    /// Takes bytes of the backend.
    pub fn backend_bytes(&mut self, bytes: &[u8], now: Now) {
        self.start_waiting(now);
        if let Some(link) = &mut self.link {
            link.replies.push(bytes);
        }
        while let Some(link) = &mut self.link {
            match link.replies.take() {
                Ok(Some(reply)) => self.backend_reply(reply, now),
                Ok(None) if link.replies.is_empty() => break,
                // A reply that begins before there is anything to reply to cannot be believed, just
                // like a whole one.
                Ok(None) => {
                    if !self.awaits_reply() {
                        self.backend_lost(now);
                    }
                    break;
                }
                Err(_) => {
                    self.backend_lost(now);
                    break;
                }
            }
        }
        self.run(now);
    }

    /// The backend sends no more, or cannot be written to.
    pub fn backend_end(&mut self, now: Now) {
        self.start_waiting(now);
        if self.link.is_some() {
            self.backend_lost(now);
            self.run(now);
        }
    }

    /// Whether a command has been sent to the backend that it has not replied to.
    fn awaits_reply(&self) -> bool {
        match &self.state {
            State::Envelope(envelope) => envelope.awaits_reply(),
            State::Begin(_) => true,
            State::Ending(_) => self.link.as_ref().is_some_and(|link| link.has_sent_all()),
            _ => false,
        }
    }

    fn backend_reply(&mut self, reply: Reply, now: Now) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Envelope(envelope) => self.envelope_reply(envelope, reply, now),
            State::Begin(begin) => self.begin_reply(&begin, reply, now),
            State::Ending(ending) => self.ending_reply(&ending, &reply, now),
            State::Message(mut message) => {
                // A reply before the end of the message is a refusal, whatever its code.
                message.refuse(Refusal::passed(reply));
                self.state = State::Message(message);
                self.drop_link();
            }
            state => {
                // An unsolicited reply, such as 421: the connection is of no more use.
                self.state = state;
                self.backend_lost(now);
            }
        }
    }

    fn backend_lost(&mut self, now: Now) {
        self.drop_link();
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Envelope(envelope) => self.envelope_lost(envelope, now),
            State::Begin(begin) => self.begin_lost(&begin, now),
            State::Ending(ending) => self.ending_lost(&ending, now),
            State::Message(mut message) => {
                message.refuse(Refusal::new(Reason::BackendLost, ""));
                self.state = State::Message(message);
            }
            state => {
                self.state = state;
                if let Some(transaction) = &mut self.transaction {
                    transaction.lose();
                }
            }
        }
    }

    /// Closes the backend's connection; within a message, without the final dot.
    pub(super) fn drop_link(&mut self) {
        if let Some(link) = self.link.take() {
            if let Some(open) = &mut self.transaction {
                open.served = Some((link.backend.to_string(), link.address.clone()));
            }
            let politely = matches!(self.state, State::Ready | State::Closed)
                && link.out.is_empty()
                && link.replies.is_empty()
                && !link.dirty;
            self.actions.push_back(Action::CloseBackend { politely });
        }
    }
}
