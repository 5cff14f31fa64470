//! The methods of a session for its caller: bytes, answers and the time go in.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::commands::is_a_look;
use super::counts::Counts;
use super::facts::{Action, Client, Now, Settings, Tls};
use super::link::Outgoing;
use super::state::{Asked, Channel, Linger, Session, State};
use crate::smtp::line::{COMMAND_LINE, Lines};
use crate::smtp::refusal::{Reason, Refusal};
use crate::smtp::reply::{Enhanced, Reply};

/// The bytes for the client that may wait before no more of its own are read.
pub(super) const CLIENT_HIGH: usize = 16 * 1024;

impl Session {
    /// A session with a client that has connected, with TLS where it began at once.
    #[must_use]
    pub fn new(settings: Arc<Settings>, client: Client, tls: Option<Tls>, now: Now) -> Self {
        let pause = settings.greeting_pause;
        let mut session = Self {
            settings,
            client,
            input: Lines::default(),
            to_client: Outgoing::default(),
            actions: VecDeque::new(),
            link: None,
            counts: Counts::default(),
            references: 0,
            client_took: now.monotonic,
            ending: false,
            linger: Linger::Nothing,
            channel: Channel { tls, hello: None },
            transaction: None,
            state: State::Pause,
            deadline: now.monotonic + pause,
        };
        if pause.is_zero() {
            session.greet(now);
        }
        session
    }

    /// A session that is refused at once: one reply, then the end.
    #[must_use]
    pub fn refuse(
        settings: Arc<Settings>,
        client: Client,
        tls: Option<Tls>,
        refusal: Refusal,
        now: Now,
    ) -> Self {
        let mut session = Self::new(settings, client, tls, now);
        session.to_client = Outgoing::default();
        session.end_with(refusal, now);
        session
    }

    fn greet(&mut self, now: Now) {
        let text = format!("{} ESMTP mxdp", self.settings.hostname);
        self.reply(&Reply::new(220, None, text));
        self.ready(now);
    }

    /// Handles bytes of the client.
    pub fn client_bytes(&mut self, bytes: &[u8], now: Now) {
        self.start_waiting(now);
        let mut rest = bytes;
        // The bytes of a message are decoded without a copy.
        if self.input.is_empty() && matches!(self.state, State::Message(_)) {
            let used = self.message_bytes(rest, now);
            rest = &rest[used..];
        }
        self.input.push(rest);
        self.run(now);
    }

    /// The client has closed its side.
    pub fn client_end(&mut self, now: Now) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Message(message) => self.message_broken(*message, Reason::ClientGone, now),
            // The message is with the backend: the outcome is recorded, but the client is not told.
            State::Ending(ending) => {
                self.state = State::Ending(ending.unheard());
                return;
            }
            State::Asked(Asked::Rcpt(rcpt)) | State::Opening(rcpt) => {
                self.record_gone(rcpt.path, now);
            }
            State::Envelope(envelope) => self.record_gone(envelope.rcpt.path, now),
            _ => {}
        }
        self.close(now);
    }

    /// The client can no longer be written to.
    pub fn client_lost(&mut self, now: Now) {
        self.to_client = Outgoing::default();
        self.client_end(now);
    }

    /// Handles everything that has arrived and can be handled.
    pub(super) fn run(&mut self, now: Now) {
        loop {
            match &self.state {
                State::Pause if is_a_look(self.input.rest()) => return,
                State::Pause if !self.input.is_empty() => {
                    self.end_with(Refusal::new(Reason::EarlyTalker, self.client.address), now);
                }
                State::Ready => {
                    if self.ending && self.transaction.is_none() {
                        self.end_with(Refusal::new(Reason::Ending, ""), now);
                        return;
                    }
                    if self.to_client.len() > CLIENT_HIGH {
                        return;
                    }
                    match self.input.next(COMMAND_LINE) {
                        Ok(Some(line)) => self.command(&line, now),
                        Ok(None) => return,
                        Err(bad) => self.bad_line(bad, now),
                    }
                }
                State::Message(_) => {
                    if self.input.is_empty() && !self.is_chunk_done() {
                        return;
                    }
                    let input = std::mem::take(&mut self.input);
                    let used = self.message_bytes(input.rest(), now);
                    let closed = matches!(self.state, State::Closed);
                    self.input = input;
                    self.input.consume(if closed { usize::MAX } else { used });
                    if used == 0 && matches!(self.state, State::Message(_)) {
                        return;
                    }
                }
                State::Skip(_) => {
                    let State::Skip(skip) = std::mem::replace(&mut self.state, State::Closed)
                    else {
                        return;
                    };
                    self.skip_bytes(skip, now);
                    if matches!(self.state, State::Skip(_)) {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    /// Time has passed.
    pub fn time(&mut self, now: Now) {
        if !self.to_client.is_empty()
            && now.monotonic >= self.client_took + self.settings.times.command
        {
            // The client accepts no bytes, so it cannot be told anything.
            return self.client_lost(now);
        }
        if now.monotonic < self.deadline_of_state() {
            return;
        }
        self.start_waiting(now);
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Pause => self.greet(now),
            State::Ready | State::Skip(_) => {
                self.end_with(Refusal::new(Reason::TimedOut, ""), now);
            }
            State::Message(message) => {
                let blocked = self.backend_blocks();
                self.message_timed_out(*message, blocked, now);
            }
            State::Envelope(envelope) => self.envelope_lost(envelope, now),
            State::Begin(begin) => self.begin_lost(&begin, now),
            State::Ending(ending) => self.ending_lost(&ending, now),
            // Opening a backend and answering a question have their own timeouts.
            state @ (State::Asked(_) | State::Opening(_) | State::StartTls | State::Closed) => {
                self.state = state;
                self.deadline = now.monotonic + self.settings.times.command;
            }
        }
        self.run(now);
    }

    /// The latest time at which [`Self::time`] must be called.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let state = self.deadline_of_state();
        if self.to_client.is_empty() {
            state
        } else {
            state.min(self.client_took + self.settings.times.command)
        }
    }

    fn deadline_of_state(&self) -> Instant {
        match &self.state {
            State::Message(message) if !self.backend_blocks() => message.deadline(&self.settings),
            State::Skip(skip) => skip.deadline(&self.settings),
            State::Message(_) => {
                let link = self.link.as_ref();
                link.map_or(self.deadline, |link| link.took + link.times.data)
            }
            _ => self.deadline,
        }
    }

    /// The number of accepted recipients whose message is under way or still to come.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.transaction.as_ref().map_or(0, |open| open.accepted.len())
    }

    /// The client's name by reverse DNS is confirmed.
    pub fn client_named(&mut self, name: &str) {
        self.client.name = Some(name.to_owned());
    }

    /// The TLS handshake is done.
    pub fn tls_started(&mut self, tls: Tls, now: Now) {
        // As if it had just connected (RFC 3207 section 4.2).
        self.channel = Channel { tls: Some(tls), hello: None };
        self.transaction = None;
        self.input.discard();
        self.ready(now);
        self.run(now);
    }

    /// Bytes for the client.
    pub const fn to_client(&mut self) -> &mut Outgoing {
        &mut self.to_client
    }

    /// The client accepted bytes.
    pub fn client_took(&mut self, now: Now) {
        self.client_took = now.monotonic;
        if self.to_client.len() <= CLIENT_HIGH {
            self.run(now);
        }
    }

    /// The next action.
    pub fn action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether bytes of the client can be handled now.
    #[must_use]
    pub fn wants_client(&self) -> bool {
        match &self.state {
            State::Pause | State::Skip(_) => true,
            State::Ready => self.to_client.len() <= CLIENT_HIGH,
            State::Message(message) => message.is_refused() || !self.backend_blocks(),
            _ => false,
        }
    }

    /// Whether the session is over once everything is sent.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// The client, as the session knows it.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// TLS, when it is in use.
    #[must_use]
    pub const fn tls(&self) -> Option<&Tls> {
        self.channel.tls.as_ref()
    }

    /// The name in the client's HELO or EHLO.
    #[must_use]
    pub fn helo(&self) -> &str {
        self.channel.hello.as_ref().map_or("", |hello| &hello.name)
    }

    /// Whether the client said EHLO.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.channel.hello.as_ref().is_some_and(|hello| hello.is_extended)
    }

    /// Called before anything is written: a client that has accepted everything so far is not late,
    /// however long ago that was.
    pub(super) fn start_waiting(&mut self, now: Now) {
        if self.to_client.is_empty() {
            self.client_took = now.monotonic;
        }
    }

    pub(super) fn ready(&mut self, now: Now) {
        self.state = State::Ready;
        self.deadline = now.monotonic + self.settings.times.command;
    }

    pub(super) fn reply(&mut self, reply: &Reply) {
        self.for_client(reply).write(self.to_client.buffer());
    }

    /// Sends a reply that was made for this client.
    pub(super) fn send(&mut self, reply: &Reply) {
        reply.write(self.to_client.buffer());
    }

    /// A reply in the form that the client may be sent.
    pub(super) fn for_client(&self, reply: &Reply) -> Reply {
        let open = self.transaction.as_ref();
        reply.for_client(open.is_some_and(|open| open.parameters.smtputf8))
    }

    pub(super) fn say(&mut self, code: u16, enhanced: Enhanced, text: &str) {
        self.reply(&Reply::new(code, Some(enhanced), text));
    }
}
