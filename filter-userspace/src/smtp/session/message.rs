//! The message: it streams to the backend as it arrives, and the backend's reply to its end is the
//! reply to the client.

use std::sync::Arc;

use super::body::{Begin, Chunk, Ending, Message, Skip};
use super::facts::Now;
use super::pace::Pace;
use super::state::{Linger, Session, State};
use crate::smtp::data::{BadData, BareNewlines, Decoded, Decoder, Stuffer};
use crate::smtp::header::{HeaderScan, Received};
use crate::smtp::refusal::{Reason, Refusal};
use crate::smtp::reply::{Enhanced, Reply};

impl Session {
    /// Sends DATA to the backend.
    pub(super) fn begin(&mut self, chunk: Option<Chunk>, now: Now) {
        let begin = Begin { chunk };
        let Some(link) = &mut self.link else { return self.begin_lost(&begin, now) };
        link.write("DATA\r\n", now);
        self.state = State::Begin(begin);
        self.deadline = self.backend_due(|times| times.reply, now);
    }

    pub(super) fn begin_reply(&mut self, begin: &Begin, reply: Reply, now: Now) {
        if reply.code != 354 {
            if reply.code == 421 || reply.is_positive() {
                self.drop_link();
            }
            return self.begin_failed(begin, Refusal::passed(reply), now);
        }
        let reference = self.reference();
        let received = self.fields(&reference, now);
        let bare = self.client.bare_newlines;
        let decoder = match begin.chunk {
            None => Decoder::data(bare),
            Some(_) if self.settings.normalise_chunks => Decoder::chunks(BareNewlines::Normalise),
            Some(_) => Decoder::chunks(bare),
        };
        let mut stuffer = Stuffer::new();
        if let Some(link) = &mut self.link {
            link.took = now.monotonic;
            stuffer.write(received.as_bytes(), link.out.buffer());
        }
        if begin.chunk.is_none() {
            self.reply(&Reply::new(354, None, "end data with <CR><LF>.<CR><LF>"));
        }
        self.state = State::Message(Box::new(Message {
            decoder,
            stuffer,
            scan: HeaderScan::new(),
            size: 0,
            came: 0,
            refused: None,
            chunk: begin.chunk,
            reference,
            pace: Pace::new(&self.settings.times, now.monotonic),
            blocked: None,
        }));
    }

    /// The header fields that the message gets in front of its own.
    fn fields(&self, reference: &str, now: Now) -> String {
        let headers = self.transaction.as_ref().map(|open| open.headers.concat());
        headers.unwrap_or_default() + &self.received(reference, now)
    }

    fn received(&self, reference: &str, now: Now) -> String {
        let transaction = self.transaction.as_ref();
        let utf8 = transaction.is_some_and(|open| open.parameters.smtputf8);
        let tls = self.channel.tls.as_ref();
        let protocol = match (utf8, self.is_extended(), tls.is_some()) {
            (true, _, false) => "UTF8SMTP",
            (true, _, true) => "UTF8SMTPS",
            (false, true, false) => "ESMTP",
            (false, true, true) => "ESMTPS",
            (false, false, _) => "SMTP",
        };
        let recipient = transaction.and_then(|open| open.accepted.only());
        Received {
            helo: self.helo(),
            name: self.client.name.as_deref(),
            client: self.client.address,
            hostname: &self.settings.hostname,
            protocol,
            tls: tls.map(|tls| tls.text.as_str()),
            id: reference,
            recipient: recipient.as_ref(),
            unix: now.unix_ms / 1000,
        }
        .field()
    }

    pub(super) fn begin_lost(&mut self, begin: &Begin, now: Now) {
        self.drop_link();
        self.begin_failed(begin, Refusal::new(Reason::BackendLost, ""), now);
    }

    fn begin_failed(&mut self, begin: &Begin, refusal: Refusal, now: Now) {
        self.ready(now);
        let reply = self.finish_refused(refusal, None, now);
        match begin.chunk {
            None => self.send(&reply),
            Some(chunk) => self.skip(chunk.size, reply, now),
        }
    }

    /// Reads and discards `count` octets of a chunk, then replies. A size that is beyond reason
    /// ends the session instead.
    pub(super) fn skip(&mut self, count: u64, reply: Reply, now: Now) {
        let waiting = u64::try_from(self.input.rest().len()).unwrap_or(u64::MAX);
        if count > waiting.max(self.settings.message_size) {
            self.send(&reply);
            self.linger = Linger::Message;
            return self.close(now);
        }
        let pace = Pace::new(&self.settings.times, now.monotonic);
        self.state = State::Skip(Skip { left: count, reply, pace });
    }

    pub(super) fn skip_bytes(&mut self, mut skip: Skip, now: Now) {
        let waiting = u64::try_from(self.input.rest().len()).unwrap_or(u64::MAX);
        let count = skip.left.min(waiting);
        self.input.consume(usize::try_from(count).unwrap_or(usize::MAX));
        skip.left -= count;
        let in_time = count == 0 || skip.pace.took(count, &self.settings.times, now.monotonic);
        if skip.left == 0 {
            self.send(&skip.reply);
            self.ready(now);
        } else if !in_time {
            self.end_with(Refusal::new(Reason::TimedOut, ""), now);
        } else {
            self.state = State::Skip(skip);
        }
    }

    /// The next chunk of a message that has begun.
    pub(super) fn next_chunk(&mut self, mut message: Box<Message>, chunk: Chunk, now: Now) {
        message.chunk = Some(chunk);
        message.pace.next_chunk(&self.settings.times, now.monotonic);
        if self.link.is_none() {
            message.refuse(Refusal::new(Reason::BackendLost, ""));
        }
        self.state = State::Message(message);
    }

    /// Whether the current chunk is complete.
    pub(super) fn is_chunk_done(&self) -> bool {
        let State::Message(message) = &self.state else { return false };
        message.chunk.is_some_and(|chunk| chunk.left == 0)
    }

    /// Handles bytes of the message, and returns how many belonged to it.
    pub(super) fn message_bytes(&mut self, bytes: &[u8], now: Now) -> usize {
        let State::Message(mut message) = std::mem::replace(&mut self.state, State::Closed) else {
            return 0;
        };
        let wanted = match message.chunk {
            Some(chunk) => usize::try_from(chunk.left).unwrap_or(usize::MAX).min(bytes.len()),
            None => bytes.len(),
        };
        let decoded = self.decode(&mut message, &bytes[..wanted]);
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(bad) => {
                let reason = match bad {
                    BadData::Nul => Reason::NulInMessage,
                    BadData::BareCr | BadData::BareLf => Reason::BareNewlineInMessage,
                };
                self.message_ended(*message, Some(Refusal::new(reason, "")), true, now);
                return bytes.len();
            }
        };
        let came = u64::try_from(decoded.used).unwrap_or(u64::MAX);
        let in_time = message.took(came, &self.settings, now);
        if let Some(chunk) = &mut message.chunk {
            chunk.left -= u64::try_from(decoded.used).unwrap_or(0).min(chunk.left);
        }
        self.check_message(&mut message);
        let endless = message.came > self.settings.message_size.saturating_mul(2).max(1 << 20);
        if message.refused.is_some() && endless {
            self.message_ended(*message, None, true, now);
        } else if decoded.ended {
            self.message_ended(*message, None, false, now);
        } else if message.chunk.is_some_and(|chunk| chunk.left == 0) {
            self.chunk_ended(message, now);
        } else if !in_time {
            self.message_ended(*message, Some(Refusal::new(Reason::TooSlow, "")), true, now);
        } else {
            if self.backend_blocks() {
                message.blocked.get_or_insert(now.monotonic);
            }
            self.state = State::Message(message);
        }
        decoded.used
    }

    fn decode(&mut self, message: &mut Message, bytes: &[u8]) -> Result<Decoded, BadData> {
        let Message { decoder, stuffer, scan, size, refused, .. } = message;
        let mut out =
            self.link.as_mut().filter(|_| refused.is_none()).map(|link| link.out.buffer());
        decoder.decode(bytes, |piece| {
            // A message that begins with white space would continue our own field (RFC 5322
            // section 2.2.3): it has no header, so an empty line is put before it.
            if *size == 0 && piece.first().is_some_and(|byte| b" \t".contains(byte)) {
                scan.look(b"\r\n");
                if let Some(out) = &mut out {
                    stuffer.write(b"\r\n", out);
                }
            }
            *size += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            scan.look(piece);
            if let Some(out) = &mut out {
                stuffer.write(piece, out);
            }
        })
    }

    fn check_message(&mut self, message: &mut Message) {
        let offers = self.link.as_ref().map(|link| link.capabilities.extensions);
        let backend = offers.and_then(|offers| offers.size);
        let most = backend.unwrap_or(u64::MAX).min(self.settings.message_size);
        let asks = self.transaction.as_ref().is_some_and(|open| open.parameters.smtputf8);
        let is_lost = asks && offers.is_some_and(|offers| !offers.smtputf8);
        let refusal = if message.size > most {
            Refusal::new(Reason::TooLarge, "")
        } else if message.scan.hops() > self.settings.hops {
            Refusal::new(Reason::TooManyHops, "")
        } else if is_lost && !message.scan.is_ascii() {
            Refusal::new(Reason::NoSmtputf8, "")
        } else {
            return;
        };
        message.refuse(refusal);
        // Without the final dot, the backend accepts nothing.
        self.drop_link();
    }

    fn chunk_ended(&mut self, mut message: Box<Message>, now: Now) {
        let Some(chunk) = message.chunk else { return };
        if chunk.last || message.refused.is_some() {
            let Message { decoder, stuffer, .. } = &mut *message;
            let mut out = self.link.as_mut().map(|link| link.out.buffer());
            let open = decoder.end_of_chunks(|piece| {
                if let Some(out) = &mut out {
                    stuffer.write(piece, out);
                }
            });
            let bad = open.is_err() && chunk.last && message.refused.is_none();
            let refusal = bad.then(|| Refusal::new(Reason::BareNewlineInMessage, ""));
            return self.message_ended(*message, refusal, bad, now);
        }
        let text = format!("{} octets received", chunk.size);
        self.say(250, Enhanced(2, 0, 0), &text);
        if let Some(transaction) = &mut self.transaction {
            transaction.message = Some(message);
        }
        self.ready(now);
    }

    /// The message has arrived whole, or as far as it is read.
    pub(super) fn message_ended(
        &mut self,
        message: Message,
        refusal: Option<Refusal>,
        closes: bool,
        now: Now,
    ) {
        let Message { stuffer, scan, size, refused, reference, .. } = message;
        let ending = Ending { facts: Arc::new(scan.facts()), size, reference, heard: true };
        let lost = || Refusal::new(Reason::BackendLost, "");
        let refusal = refused.or(refusal).or_else(|| self.link.is_none().then(lost));
        if let Some(refusal) = refusal {
            self.drop_link();
            let reply = self.finish_refused(refusal, Some(&ending), now);
            self.send(&reply);
            if closes || reply.code == 421 {
                // A client that is too slow, or has to make way, is not read any longer.
                self.linger = if reply.code == 421 { Linger::Reply } else { Linger::Message };
                return self.close(now);
            }
            return self.ready(now);
        }
        if let Some(link) = &mut self.link {
            stuffer.end(link.out.buffer());
        }
        self.state = State::Ending(ending);
        self.deadline = self.backend_due(|times| times.end, now);
    }

    /// The client has disconnected or is too slow: the backend never sees the end.
    pub(super) fn message_broken(&mut self, message: Message, reason: Reason, now: Now) {
        self.drop_link();
        let Message { scan, size, refused, reference, .. } = message;
        let ending = Ending { facts: Arc::new(scan.facts()), size, reference, heard: false };
        self.finish_refused(
            refused.unwrap_or_else(|| Refusal::new(reason, "")),
            Some(&ending),
            now,
        );
    }

    pub(super) fn message_timed_out(&mut self, mut message: Message, blocked: bool, now: Now) {
        if blocked {
            // It is the backend that accepts no more bytes.
            message.resume(now);
            message.refuse(Refusal::new(Reason::BackendLost, ""));
            self.state = State::Message(Box::new(message));
            return self.drop_link();
        }
        self.message_ended(message, Some(Refusal::new(Reason::TooSlow, "")), true, now);
    }
}

/// How a message's bare line ends are treated, from the configuration's boolean.
impl From<bool> for BareNewlines {
    fn from(normalise: bool) -> Self {
        if normalise { Self::Normalise } else { Self::Refuse }
    }
}
