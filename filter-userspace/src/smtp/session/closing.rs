//! The end of a session.

use super::facts::Now;
use super::state::{Linger, Session, State};
use crate::smtp::refusal::{Reason, Refusal};
use crate::smtp::reply::Reply;

impl Session {
    /// What the client may still send, which must be read so that it can read the last reply.
    #[must_use]
    pub const fn lingers(&self) -> Linger {
        self.linger
    }

    /// Whether the session is waiting for something other than the next command: a message that has
    /// begun has timeouts of its own (RFC 5321 section 4.5.3.2).
    #[must_use]
    pub const fn is_working(&self) -> bool {
        matches!(
            self.state,
            State::Asked(_)
                | State::Opening(_)
                | State::Envelope(_)
                | State::Begin(_)
                | State::Message(_)
                | State::Ending(_)
        )
    }

    /// The slot is needed: the session ends, unless a message is with the backend, whose reply is
    /// then the last.
    pub fn make_way(&mut self, now: Now) {
        self.start_waiting(now);
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Ending(ending) => {
                self.ending = true;
                self.state = State::Ending(ending);
                self.linger = Linger::Nothing;
            }
            state => self.leave(state, Reason::TooManyConnections, now),
        }
    }

    /// The daemon shuts down: the session ends as soon as no message is under way.
    pub fn shut_down(&mut self, now: Now) {
        self.start_waiting(now);
        self.ending = true;
        self.run(now);
    }

    /// The daemon ends now. A message that is with the backend may be delivered; its client is told
    /// to retry all the same, since no later reply can be sent.
    pub fn give_up(&mut self, now: Now) {
        self.start_waiting(now);
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Ending(ending) => {
                let refusal = Refusal::new(Reason::Ending, "");
                let reply = self.finish_refused(refusal, Some(&ending), now);
                if ending.heard {
                    self.send(&reply);
                }
                self.close(now);
                self.linger = Linger::Nothing;
            }
            state => self.leave(state, Reason::Ending, now),
        }
    }

    /// Ends a session that has no message with the backend. The descriptor is needed, so nothing
    /// more is read.
    fn leave(&mut self, state: State, reason: Reason, now: Now) {
        let refusal = Refusal::new(reason, "");
        match state {
            State::Message(message) => self.message_ended(*message, Some(refusal), true, now),
            // The last reply has already been written.
            State::Closed => {}
            state => {
                self.state = state;
                self.end_with(refusal, now);
            }
        }
        self.linger = Linger::Nothing;
    }

    /// Sends the last reply and records it.
    pub(super) fn end_with(&mut self, refusal: Refusal, now: Now) {
        let reference = self.reference();
        let reply = self.for_client(&refusal.reply(&reference));
        self.send(&reply);
        self.record_refused(None, refusal, reply.clone(), reference.clone(), now);
        self.linger = Linger::Reply;
        self.close_told(Some(&(reply, reference)), now);
    }

    /// Ends the session: nothing more is read.
    pub(super) fn close(&mut self, now: Now) {
        self.close_told(None, now);
    }

    /// Ends the session, with the last reply and its reference.
    pub(super) fn close_told(&mut self, told: Option<&(Reply, String)>, now: Now) {
        self.record_unfinished(told, now);
        self.state = State::Closed;
        self.transaction = None;
        self.input.discard();
        self.drop_link();
    }
}
