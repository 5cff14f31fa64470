//! What each command does.

use super::body::Chunk;
use super::facts::{Action, Answer, Now, Question};
use super::state::{Asked, Hello, Session, State};
use super::transaction::{Rcpt, Transaction};
use crate::smtp::address::{ForwardPath, Mailbox, ReversePath};
use crate::smtp::command::{self, BadCommand, Command, MailParameters, RcptParameters};
use crate::smtp::line::BadLine;
use crate::smtp::refusal::{Own, Reason, Refusal};
use crate::smtp::reply::{Enhanced, Reply};

/// The number of commands without mail between two messages; further ones are errors.
const IDLE_COMMANDS: u32 = 100;

/// The longest text behind the code of a reply to EHLO, in octets: there, a second line would be an
/// extension.
const GREETING: usize = 500;

/// The most bytes of a probe: enough for a TLS ClientHello with keys for several groups.
const LOOK: usize = 4096;

/// How many characters of an invalid line are shown.
const SHOWN: usize = 100;

const OK: Enhanced = Enhanced(2, 0, 0);
const BAD_SEQUENCE: Enhanced = Enhanced(5, 5, 1);
const BAD_SYNTAX: Enhanced = Enhanced(5, 5, 4);

/// Whether a command is one of those that carry mail or a host name.
fn is_of_mail(line: &[u8]) -> bool {
    let verbs: [&[u8]; 4] = [b"MAIL", b"RCPT", b"EHLO", b"HELO"];
    line.get(..4).is_some_and(|verb| verbs.iter().any(|one| verb.eq_ignore_ascii_case(one)))
}

/// What a client wrote, in a form that fits into a reply: a part of it, in printable ASCII.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let short: String = text.chars().take(SHOWN).collect();
    let more = if short.len() < text.len() { "..." } else { "" };
    format!("\"{}{more}\":", short.replace(|letter: char| !(' '..='~').contains(&letter), "?"))
}

/// Whether a client only probes whether the port answers, as monitors and people do: all bytes so
/// far end with QUIT and name no mail. The same holds for a client that begins with TLS where
/// STARTTLS is expected, as a misconfigured printer does (a handshake record, RFC 8446
/// section 5.1).
pub(super) fn is_a_look(bytes: &[u8]) -> bool {
    if bytes.len() > LOOK {
        return false;
    }
    if bytes.starts_with(&[0x16, 3]) {
        return true;
    }
    let mut lines = bytes.trim_ascii().split(|byte| *byte == b'\n').map(|line| {
        let verb = line.trim_ascii().split(|byte| b" \t".contains(byte)).next();
        verb.unwrap_or_default().to_ascii_uppercase()
    });
    lines.next_back().is_some_and(|last| last == b"QUIT")
        && lines.all(|verb| [&b"HELO"[..], b"EHLO", b"NOOP", b""].contains(&&*verb))
}

impl Session {
    pub(super) fn command(&mut self, line: &[u8], now: Now) {
        self.ready(now);
        let command = match Command::parse(line) {
            Ok(command) => command,
            Err(bad) => {
                if line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"MAIL")) {
                    self.counts.excuse_mail(self.settings.recipients);
                }
                return self.bad_command(bad, line, now);
            }
        };
        let carries_mail = match &command {
            Command::Rcpt(..) | Command::Data | Command::Quit => true,
            Command::Bdat { size, last } => *last || *size > 0,
            _ => false,
        };
        if !carries_mail && self.counts.idle(IDLE_COMMANDS) && self.count_error(now) {
            return;
        }
        match command {
            Command::Helo(name) => self.hello(name, false, now),
            Command::Ehlo(name) => self.hello(name, true, now),
            Command::Mail(sender, parameters) => self.mail(sender, parameters, now),
            Command::Rcpt(path, parameters) => self.rcpt(path, parameters, now),
            Command::Data => self.data(now),
            Command::Bdat { size, last } => self.bdat(size, last, now),
            Command::Rset => {
                self.reset(now);
                self.counts.begin();
                self.say(250, OK, "reset");
            }
            Command::Noop => self.say(250, OK, "nothing done"),
            Command::Quit => {
                self.reply(&Reply::new(221, Some(OK), format!("{} bye", self.settings.hostname)));
                self.close(now);
            }
            Command::Vrfy => self.say(
                252,
                Enhanced(2, 5, 2),
                "Cannot VRFY user, but will accept message and attempt delivery",
            ),
            Command::Expn => self.error(502, BAD_SEQUENCE, "EXPN is not offered", now),
            Command::Help => self.say(
                214,
                OK,
                "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY STARTTLS (RFC 5321)",
            ),
            Command::StartTls => self.start_tls(now),
        }
    }

    /// An error of the client, counted; after too many the session ends.
    fn error(&mut self, code: u16, enhanced: Enhanced, text: &str, now: Now) {
        if !self.count_error(now) {
            self.say(code, enhanced, text);
        }
    }

    /// A command that is out of order; not an error if it only follows from a refusal, as in a
    /// group of commands (RFC 2920).
    fn out_of_order(&mut self, code: u16, text: &str, now: Now) {
        if self.counts.is_excused() {
            self.say(code, BAD_SEQUENCE, text);
        } else {
            self.error(code, BAD_SEQUENCE, text, now);
        }
    }

    /// A mail command that is refused for its own syntax: an error that has a reference and is
    /// recorded with the address in the line, since somebody may ask why.
    fn refuse_command(&mut self, refusal: Refusal, line: &[u8], now: Now) {
        if self.count_error(now) {
            return;
        }
        let reference = self.reference();
        let reply = self.for_client(&refusal.reply(&reference));
        self.send(&reply);
        let (sender, recipient) = command::named(line);
        let Some(sender) = sender else {
            return self.record_refused(recipient, refusal, reply, reference, now);
        };
        // The line does not concern the transaction that may be open.
        let named = Transaction::new(sender, MailParameters::default(), now);
        let open = self.transaction.replace(Box::new(named));
        self.record_refused(None, refusal, reply, reference, now);
        self.transaction = open;
    }

    /// Counts an error; true if it was one too many, and the session is over.
    fn count_error(&mut self, now: Now) -> bool {
        let accepted = self.transaction.as_ref().map_or(0, |open| open.accepted.len());
        let too_many = self.counts.error(self.settings.errors, accepted);
        if too_many {
            self.end_with(Refusal::new(Reason::TooManyErrors, ""), now);
        }
        too_many
    }

    pub(super) fn bad_line(&mut self, bad: BadLine, now: Now) {
        self.ready(now);
        match bad {
            BadLine::TooLong { chunk: true } => self.bad_command(BadCommand::Chunk, b"", now),
            BadLine::TooLong { chunk: false } => {
                self.error(500, Enhanced(5, 5, 2), "the line is too long", now);
            }
            BadLine::BareCr | BadLine::BareLf | BadLine::Nul
                if self.transaction.is_none() && is_a_look(self.input.rest()) =>
            {
                self.say(500, Enhanced(5, 5, 2), "a line must end with CR LF");
                self.close(now);
            }
            // The meaning of what follows is not known.
            BadLine::BareCr | BadLine::BareLf | BadLine::Nul => {
                self.end_with(Refusal::new(Reason::BareNewline, ""), now);
            }
        }
    }

    fn bad_command(&mut self, bad: BadCommand, line: &[u8], now: Now) {
        if bad != BadCommand::Unknown {
            // The commands behind it in its group are out of order.
            self.counts.excuse();
        }
        match bad {
            BadCommand::Unknown => self.error(500, BAD_SEQUENCE, "no such command", now),
            BadCommand::Syntax(syntax) if is_of_mail(line) => {
                let own = Own { text: Some(format!("the syntax is {syntax}")), ..Own::default() };
                let refusal = Refusal::new(Reason::BadSyntax, shown(line));
                self.refuse_command(Refusal { own: Some(Box::new(own)), ..refusal }, line, now);
            }
            BadCommand::Syntax(syntax) => {
                self.error(501, BAD_SYNTAX, &format!("the syntax is {syntax}"), now);
            }
            BadCommand::Sender => {
                self.refuse_command(Refusal::new(Reason::BadSender, shown(line)), line, now);
            }
            BadCommand::Recipient => {
                self.refuse_command(Refusal::new(Reason::BadRecipient, shown(line)), line, now);
            }
            BadCommand::Parameter => {
                self.refuse_command(Refusal::new(Reason::BadParameter, shown(line)), line, now);
            }
            BadCommand::NotAscii => {
                self.refuse_command(Refusal::new(Reason::NotAscii, shown(line)), line, now);
            }
            // A chunk may follow, whose bytes must not be read as commands.
            BadCommand::Chunk => self.end_with(Refusal::new(Reason::BadChunk, ""), now),
        }
    }

    /// Whether commands arrived that must wait for this one's reply (RFC 2920 section 3.1); then
    /// the session is over.
    fn is_pipelined(&mut self, now: Now) -> bool {
        let pipelined = !self.input.is_empty();
        if pipelined {
            self.end_with(Refusal::new(Reason::Pipelining, ""), now);
        }
        pipelined
    }

    fn hello(&mut self, name: Box<str>, extended: bool, now: Now) {
        if !is_a_look(self.input.rest()) && self.is_pipelined(now) {
            return;
        }
        self.reset(now);
        let mut greeting = format!("{} greets {name}", self.settings.hostname);
        if greeting.len() > GREETING {
            greeting.clone_from(&self.settings.hostname);
        }
        let hello = Hello { name, is_extended: extended };
        if self.channel.hello.as_ref().is_some_and(|former| *former != hello) {
            // The backend was given the former name.
            self.drop_link();
        }
        self.channel.hello = Some(hello);
        if !extended {
            return self.reply(&Reply::new(250, None, greeting));
        }
        // The size is ours (RFC 1870 section 4): a backend's own limit concerns its recipients, and
        // the reply to RCPT reports it.
        let size = self.settings.message_size;
        let offers = self.client.offers;
        let mut lines = vec![greeting, "PIPELINING".to_owned(), format!("SIZE {size}")];
        let starttls = self.settings.starttls && self.channel.tls.is_none();
        let keywords = [
            ("STARTTLS", starttls),
            ("ENHANCEDSTATUSCODES", true),
            ("8BITMIME", true),
            ("SMTPUTF8", offers.smtputf8),
            ("DSN", offers.dsn),
            ("CHUNKING", true),
        ];
        let offered = keywords.into_iter().filter(|(_, offered)| *offered);
        lines.extend(offered.map(|(keyword, _)| keyword.to_owned()));
        self.reply(&Reply { code: 250, enhanced: None, lines });
    }

    fn start_tls(&mut self, now: Now) {
        if self.channel.tls.is_some() {
            return self.error(503, BAD_SEQUENCE, "TLS is in use", now);
        }
        if !self.settings.starttls {
            return self.error(502, BAD_SEQUENCE, "STARTTLS is not offered", now);
        }
        self.reset(now);
        self.say(220, OK, "begin TLS");
        // Bytes behind the command were not protected (CVE-2011-0411).
        self.input.discard();
        self.state = State::StartTls;
        self.drop_link();
        self.actions.push_back(Action::StartTls);
    }

    /// Ends the open transaction: everything that RSET, EHLO, HELO and STARTTLS discard.
    pub(super) fn reset(&mut self, now: Now) {
        self.record_unfinished(None, now);
        let has_begun = self.transaction.as_ref().is_some_and(|open| open.message.is_some());
        self.transaction = None;
        // A message in chunks can only be aborted by closing the connection.
        if has_begun {
            self.drop_link();
        }
    }

    fn mail(&mut self, sender: ReversePath, parameters: MailParameters, now: Now) {
        if self.channel.hello.is_none() {
            self.counts.excuse_mail(self.settings.recipients);
            return self.error(503, BAD_SEQUENCE, "EHLO or HELO comes first", now);
        }
        if let Some(open) = self.transaction.as_ref().filter(|open| open.refused.is_none()) {
            let text = "a transaction is already open, send RSET to abort it";
            return match open.accepted.is_empty() {
                true => self.out_of_order(503, text, now),
                false => self.error(503, BAD_SEQUENCE, text, now),
            };
        }
        self.reset(now);
        self.counts.begin();
        let question = Question::Mail { sender: sender.clone(), parameters: parameters.clone() };
        self.state = State::Asked(Asked::Mail(Box::new(Transaction::new(sender, parameters, now))));
        self.actions.push_back(Action::Ask(question));
    }

    fn rcpt(&mut self, path: ForwardPath, parameters: RcptParameters, now: Now) {
        let Some(transaction) = &mut self.transaction else {
            return self.out_of_order(503, "MAIL comes first", now);
        };
        if transaction.message.is_some() {
            return self.error(503, BAD_SEQUENCE, "the message has already begun", now);
        }
        let international = path.mailbox().is_some_and(Mailbox::is_international);
        if international && !transaction.parameters.smtputf8 {
            let refusal = Refusal::new(Reason::NotAscii, shown(path.to_string().as_bytes()));
            return self.refuse_command(refusal, format!("RCPT TO:<{path}>").as_bytes(), now);
        }
        self.counts.busy();
        let rcpt = Rcpt { path, parameters, headers: Vec::new() };
        if self.counts.is_spent(transaction.accepted.len()) {
            let refusal = Refusal::new(Reason::TooManyRefusals, "");
            return self.refuse_recipient(&rcpt, refusal, now);
        }
        if let Some(refusal) = transaction.refused.clone() {
            return self.refuse_recipient(&rcpt, refusal, now);
        }
        let accepted = &transaction.accepted;
        if accepted.len() >= self.settings.recipients || !accepted.has_room(&rcpt.path) {
            let refusal = Refusal::new(Reason::TooManyRecipients, format_args!("<{}>", rcpt.path));
            return self.refuse_recipient(&rcpt, refusal, now);
        }
        let question =
            Question::Rcpt { sender: transaction.sender.clone(), recipient: rcpt.path.clone() };
        self.state = State::Asked(Asked::Rcpt(rcpt));
        self.actions.push_back(Action::Ask(question));
    }

    /// Handles the answer to the open question.
    pub fn answer(&mut self, answer: Answer, now: Now) {
        self.start_waiting(now);
        match (std::mem::replace(&mut self.state, State::Closed), answer) {
            (State::Asked(Asked::Mail(transaction)), Answer::Mail(verdict)) => {
                self.ready(now);
                self.mail_answered(transaction, verdict, now);
            }
            (State::Asked(Asked::Rcpt(rcpt)), Answer::Rcpt(verdict)) => {
                self.ready(now);
                match verdict {
                    Ok(permit) => self.hand_over(rcpt, &permit, now),
                    Err(refusal) => self.refuse_recipient(&rcpt, refusal, now),
                }
            }
            // The client has disconnected meanwhile.
            (state, _) => self.state = state,
        }
        self.run(now);
    }

    fn mail_answered(
        &mut self,
        mut transaction: Box<Transaction>,
        verdict: Result<(), Refusal>,
        now: Now,
    ) {
        match verdict {
            Ok(()) => {
                let text = format!("<{}> sender accepted", transaction.sender);
                let smtputf8 = transaction.parameters.smtputf8;
                let reply = Reply::new(250, Some(Enhanced(2, 1, 0)), text);
                self.send(&reply.for_client(smtputf8));
            }
            Err(refusal) => {
                // Its mail log entry waits for recipients that were pipelined.
                self.counts.excuse();
                let reference = self.reference();
                let smtputf8 = transaction.parameters.smtputf8;
                let reply = refusal.reply(&reference).for_client(smtputf8);
                transaction.refused_by(refusal, reply.clone(), reference);
                self.send(&reply);
                if reply.code == 421 {
                    self.transaction = Some(transaction);
                    return self.close(now);
                }
            }
        }
        self.transaction = Some(transaction);
    }

    fn data(&mut self, now: Now) {
        if !self.has_recipients("DATA", now) || self.is_pipelined(now) {
            return;
        }
        self.begin(None, now);
    }

    /// Whether a message may begin; if not, the client is told the reason.
    fn has_recipients(&mut self, verb: &str, now: Now) -> bool {
        match &self.transaction {
            None => {
                self.out_of_order(503, &format!("MAIL and RCPT come before {verb}"), now);
            }
            Some(open) if open.message.is_some() => {
                self.error(
                    503,
                    BAD_SEQUENCE,
                    "the message was begun with BDAT and must be ended with it",
                    now,
                );
            }
            Some(open) if open.accepted.is_empty() => {
                self.out_of_order(554, "no valid recipients", now);
            }
            Some(_) => return true,
        }
        false
    }

    fn bdat(&mut self, size: u64, last: bool, now: Now) {
        let chunk = Chunk::new(size, last);
        let open = self.transaction.as_mut().and_then(|transaction| transaction.message.take());
        if let Some(message) = open {
            self.next_chunk(message, chunk, now);
        } else if self.transaction.as_ref().is_some_and(|open| !open.accepted.is_empty()) {
            self.begin(Some(chunk), now);
        } else if self.counts.is_excused() || !self.count_error(now) {
            let text = "MAIL and RCPT come before BDAT";
            self.skip(size, Reply::new(503, Some(BAD_SEQUENCE), text), now);
        }
    }
}
