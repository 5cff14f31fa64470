//! Recipients: refused here, or handed to the backend, whose reply is passed to the client.

use std::collections::VecDeque;

use super::facts::{Action, BackendName, Now, OpenFailure, Opened, Permit};
use super::link::Link;
use super::state::{Linger, Session, State};
use super::transaction::{Envelope, Rcpt, Step, Transaction};
use crate::smtp::address::Mailbox;
use crate::smtp::command::{Body, Ret};
use crate::smtp::refusal::{Reason, Refusal};
use crate::smtp::reply::Reply;

impl Session {
    /// Refuses a recipient, and ends the session after too many.
    pub(super) fn refuse_recipient(&mut self, rcpt: &Rcpt, refusal: Refusal, now: Now) {
        let open = self.transaction.as_deref_mut();
        let most = self.settings.invalid_recipients;
        let refusal = match self.counts.refuse(&refusal, open, most) {
            Some(Reason::TooManyRefusals) => Refusal::new(Reason::TooManyRefusals, ""),
            Some(reason) => Refusal::new(reason, format_args!("<{}>", rcpt.path)),
            None => refusal,
        };
        // The reply to MAIL is found by the first recipient's reference.
        let told = self.transaction.as_mut().and_then(|open| open.unrecorded.take());
        let reference = told.map_or_else(|| self.reference(), |(_, _, reference)| reference);
        let reply = self.for_client(&refusal.reply(&reference));
        self.send(&reply);
        let closes = reply.code == 421;
        let told = closes.then(|| (reply.clone(), reference.clone()));
        self.record_refused(Some(rcpt.path.clone()), refusal, reply, reference, now);
        if closes {
            self.linger = Linger::Reply;
            self.close_told(told.as_ref(), now);
        } else {
            self.ready(now);
        }
    }

    /// Hands a recipient to the backend that the permit names.
    pub(super) fn hand_over(&mut self, mut rcpt: Rcpt, permit: &Permit, now: Now) {
        let Some(transaction) = &mut self.transaction else { return };
        let subject = format!("<{}>", rcpt.path);
        if transaction.lost {
            return self.refuse_recipient(&rcpt, Refusal::new(Reason::BackendLost, subject), now);
        }
        let same = transaction.backend.as_ref().is_none_or(|bound| bound == permit.backend());
        if !same && !transaction.accepted.is_empty() {
            let refusal = Refusal::new(Reason::OtherBackend, subject);
            return self.refuse_recipient(&rcpt, refusal, now);
        }
        if !same {
            transaction.begun = false;
            transaction.mail_refused = None;
        }
        transaction.backend = Some(permit.backend().clone());
        rcpt.headers = permit.headers().to_vec();
        if let Some(reply) = transaction.mail_refused.clone() {
            return self.refuse_recipient(&rcpt, Refusal::passed(reply), now);
        }
        if self.link.as_ref().is_some_and(|link| &link.backend == permit.backend()) {
            return self.ask_backend(rcpt, false, now);
        }
        self.drop_link();
        self.open(rcpt, permit.backend().clone());
    }

    fn open(&mut self, rcpt: Rcpt, backend: BackendName) {
        self.state = State::Opening(rcpt);
        self.actions.push_back(Action::Open(backend));
    }

    /// The backend's connection is open, or could not be opened.
    pub fn opened(&mut self, result: Result<Opened, OpenFailure>, now: Now) {
        self.start_waiting(now);
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Opening(rcpt) => {
                let backend = self.transaction.as_ref().and_then(|open| open.backend.clone());
                match (result, backend) {
                    (Ok(opened), Some(backend)) => {
                        self.link = Some(Box::new(Link::new(backend, opened, now)));
                        self.ask_backend(rcpt, true, now);
                    }
                    (result, _) => {
                        let subject = format!("<{}>", rcpt.path);
                        let refusal = match result {
                            Err(OpenFailure::Refused(reply)) => Refusal::passed(reply),
                            Err(OpenFailure::NoRoom) => Refusal::new(Reason::NoRoom, ""),
                            Err(OpenFailure::TooMany) => {
                                Refusal::new(Reason::TooManyAtOnce, self.client.address)
                            }
                            Err(OpenFailure::Unfit) => Refusal::new(Reason::BackendUnfit, subject),
                            _ => Refusal::new(Reason::BackendDown, subject),
                        };
                        self.refuse_recipient(&rcpt, refusal, now);
                    }
                }
            }
            // The client has disconnected meanwhile.
            state => {
                self.state = state;
                self.actions.push_back(Action::CloseBackend { politely: true });
            }
        }
        self.run(now);
    }

    fn ask_backend(&mut self, rcpt: Rcpt, fresh: bool, now: Now) {
        let (Some(link), Some(transaction)) = (&self.link, &self.transaction) else { return };
        // Differences are bridged where possible: 8BITMIME and DSN are left out towards a backend
        // without them, and so is SMTPUTF8 as long as nothing needs it, since many clients say it
        // wherever it is offered. An address or a header beyond ASCII cannot be bridged.
        let offers = link.capabilities.extensions;
        let subject = format!("<{}>", rcpt.path);
        let mailboxes = [transaction.sender.mailbox(), rcpt.path.mailbox()];
        let is_international = mailboxes.into_iter().flatten().any(Mailbox::is_international);
        if is_international && !offers.smtputf8 {
            let refusal = Refusal::new(Reason::NoSmtputf8, subject);
            return self.refuse_recipient(&rcpt, refusal, now);
        }
        let declared = transaction.parameters.size.unwrap_or_default();
        if declared > offers.size.unwrap_or(u64::MAX) {
            let subject = format!("{subject}: {declared}");
            return self.refuse_recipient(&rcpt, Refusal::new(Reason::DeclaredSize, subject), now);
        }
        let mut unsent = VecDeque::new();
        if !transaction.begun {
            if link.dirty {
                unsent.push_back(Step::Rset);
            }
            unsent.push_back(Step::Mail);
        }
        unsent.push_back(Step::Rcpt);
        let envelope =
            Envelope { rcpt, unsent, unanswered: VecDeque::new(), mail_refused: None, fresh };
        self.state = State::Envelope(envelope);
        self.send_steps(now);
    }

    /// Sends the next commands: all at once, or one by one without PIPELINING.
    fn send_steps(&mut self, now: Now) {
        self.deadline = self.backend_due(|times| times.reply, now);
        let State::Envelope(envelope) = &mut self.state else { return };
        let (Some(link), Some(transaction)) = (&mut self.link, &self.transaction) else { return };
        while envelope.unanswered.is_empty() || link.capabilities.pipelining {
            let Some(step) = envelope.unsent.pop_front() else { return };
            envelope.unanswered.push_back(step);
            match step {
                Step::Rset => link.write("RSET\r\n", now),
                Step::Mail => {
                    link.dirty = true;
                    link.write(&mail_line(transaction, link), now);
                }
                Step::Rcpt => link.write(&rcpt_line(&envelope.rcpt, link), now),
            }
        }
    }

    pub(super) fn envelope_reply(&mut self, mut envelope: Envelope, reply: Reply, now: Now) {
        if reply.code == 421 {
            self.drop_link();
            return self.envelope_refused(envelope, reply, now);
        }
        match envelope.unanswered.pop_front() {
            Some(Step::Rset) if !reply.is_positive() => {
                self.drop_link();
                return self.envelope_lost(envelope, now);
            }
            Some(Step::Rset) => {}
            Some(Step::Mail) if reply.is_positive() => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.begun = true;
                }
            }
            Some(Step::Mail) => {
                // RCPT is pointless then; if it was pipelined, its reply is still read.
                envelope.unsent.clear();
                envelope.mail_refused = Some(reply);
                if envelope.unanswered.is_empty() {
                    return self.recipient_answered(envelope, None, now);
                }
            }
            Some(Step::Rcpt) => return self.recipient_answered(envelope, Some(reply), now),
            None => return self.envelope_lost(envelope, now),
        }
        // A reply that arrives before the next command is sent is not a reply to that.
        let spoke_early = self.link.as_ref().is_some_and(|link| link.has_more_replies());
        if envelope.unanswered.is_empty() && spoke_early {
            return self.envelope_lost(envelope, now);
        }
        self.state = State::Envelope(envelope);
        self.send_steps(now);
    }

    fn recipient_answered(&mut self, envelope: Envelope, reply: Option<Reply>, now: Now) {
        self.ready(now);
        let Some(transaction) = &mut self.transaction else { return };
        if let Some(reply) = envelope.mail_refused {
            transaction.mail_refused = Some(reply.clone());
            return self.refuse_recipient(&envelope.rcpt, Refusal::passed(reply), now);
        }
        match reply {
            Some(reply) if reply.is_positive() => {
                transaction.accepted.push(&envelope.rcpt.path);
                for header in envelope.rcpt.headers {
                    if !transaction.headers.contains(&header) {
                        transaction.headers.push(header);
                    }
                }
                self.reply(&reply.with_enhanced());
            }
            Some(reply) => self.refuse_recipient(&envelope.rcpt, Refusal::of_recipient(reply), now),
            None => {}
        }
    }

    /// The connection broke before the recipient was answered. A connection that was used before
    /// may have been closed for its age: then a new one is opened.
    pub(super) fn envelope_lost(&mut self, envelope: Envelope, now: Now) {
        let refusal = Refusal::new(Reason::BackendLost, format_args!("<{}>", envelope.rcpt.path));
        self.envelope_broken(envelope, refusal, now);
    }

    /// The same with a final reply of the backend, which the client is told.
    fn envelope_refused(&mut self, envelope: Envelope, reply: Reply, now: Now) {
        self.envelope_broken(envelope, Refusal::passed(reply), now);
    }

    fn envelope_broken(&mut self, envelope: Envelope, refusal: Refusal, now: Now) {
        self.drop_link();
        let Some(transaction) = &mut self.transaction else { return };
        transaction.lose();
        let again = transaction.backend.clone().filter(|_| !envelope.fresh && !transaction.lost);
        if let Some(backend) = again {
            return self.open(envelope.rcpt, backend);
        }
        self.ready(now);
        self.refuse_recipient(&envelope.rcpt, refusal, now);
    }
}

fn mail_line(transaction: &Transaction, link: &Link) -> String {
    let asks = &transaction.parameters;
    let offers = link.capabilities.extensions;
    let mut line = format!("MAIL FROM:<{}>", transaction.sender);
    if let Some(size) = asks.size.filter(|_| offers.size.is_some()) {
        line.push_str(&format!(" SIZE={size}"));
    }
    match asks.body {
        Some(Body::SevenBit) if offers.eight_bit => line.push_str(" BODY=7BIT"),
        Some(Body::EightBitMime) if offers.eight_bit => line.push_str(" BODY=8BITMIME"),
        _ => {}
    }
    if asks.smtputf8 && offers.smtputf8 {
        line.push_str(" SMTPUTF8");
    }
    if offers.dsn {
        match asks.ret {
            Some(Ret::Full) => line.push_str(" RET=FULL"),
            Some(Ret::Headers) => line.push_str(" RET=HDRS"),
            None => {}
        }
        if let Some(envid) = &asks.envid {
            line.push_str(&format!(" ENVID={envid}"));
        }
    }
    line.push_str("\r\n");
    line
}

fn rcpt_line(rcpt: &Rcpt, link: &Link) -> String {
    let mut line = format!("RCPT TO:<{}>", rcpt.path);
    if link.capabilities.extensions.dsn {
        if let Some(notify) = &rcpt.parameters.notify {
            line.push_str(&format!(" NOTIFY={notify}"));
        }
        if let Some(orcpt) = &rcpt.parameters.orcpt {
            line.push_str(&format!(" ORCPT={orcpt}"));
        }
    }
    line.push_str("\r\n");
    line
}
