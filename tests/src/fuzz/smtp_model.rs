//! The session against a reference model of the order of commands.
//!
//! [`Model`] is RFC 5321 section 4.1.4 (and RFC 3030, RFC 3207) as a few booleans: it
//! knows no bytes, no time and no backend's connection, only what the reply to each
//! command must be. The session is given the same commands as text, with a backend
//! that takes everything but what it is asked to refuse by name, one by one or in the
//! groups that RFC 2920 permits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use mxdp::smtp::refusal::{Reason, Refusal};
use mxdp::smtp::session::{Action, Answer, Now, Permit, Question, Session, Settings, Tls};

use super::smtp::{client, opened, settings};

/// The most commands; the session counts those that carry no mail.
const COMMANDS: usize = 90;

/// The most recipients of a message.
const RECIPIENTS: usize = 3;

/// A step of the dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ehlo,
    Helo,
    Mail,
    NullSender,
    /// A recipient that everybody takes.
    Rcpt,
    /// A recipient that no rule admits.
    RcptUnknown,
    /// A recipient that the backend refuses, permanently and temporarily.
    RcptRefused,
    RcptDeferred,
    /// DATA, and a message if DATA is accepted.
    Data,
    Chunk,
    LastChunk,
    EmptyLastChunk,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    StartTls,
    Unknown,
    BadMail,
    BadRcpt,
    BadParameter,
    LongLine,
    Quit,
}

use Step::{
    BadMail, BadParameter, BadRcpt, Chunk, Data, Ehlo, EmptyLastChunk, Expn, Helo, Help, LastChunk,
    LongLine, Mail, Noop, NullSender, Quit, Rcpt, RcptDeferred, RcptRefused, RcptUnknown, Rset,
    StartTls, Unknown, Vrfy,
};

/// The steps by number; those that lead somewhere stand more than once.
const STEPS: [Step; 32] = [
    Ehlo,
    Helo,
    Mail,
    Mail,
    Mail,
    NullSender,
    Rcpt,
    Rcpt,
    Rcpt,
    Rcpt,
    RcptUnknown,
    RcptRefused,
    RcptDeferred,
    Data,
    Data,
    Data,
    Chunk,
    Chunk,
    LastChunk,
    EmptyLastChunk,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    StartTls,
    Unknown,
    BadMail,
    BadRcpt,
    BadParameter,
    LongLine,
    Quit,
];

impl Step {
    fn text(self) -> Vec<u8> {
        let text = match self {
            Ehlo => "EHLO client.example\r\n",
            Helo => "HELO client.example\r\n",
            Mail => "MAIL FROM:<a@b.example>\r\n",
            NullSender => "mail from:<>\r\n",
            Rcpt => "RCPT TO:<taken@d.example>\r\n",
            RcptUnknown => "RCPT TO:<nobody@d.example>\r\n",
            RcptRefused => "Rcpt To:<refused@d.example>\r\n",
            RcptDeferred => "RCPT TO:<deferred@d.example>\r\n",
            Data => "DATA\r\n",
            Chunk => "BDAT 4\r\nab\r\n",
            LastChunk => "BDAT 6 LAST\r\n.\r\nx\r\n",
            EmptyLastChunk => "BDAT 0 LAST\r\n",
            Rset => "RSET\r\n",
            Noop => "NOOP\r\n",
            Vrfy => "VRFY a\r\n",
            Expn => "EXPN a\r\n",
            Help => "HELP\r\n",
            StartTls => "STARTTLS\r\n",
            Unknown => "XNONE\r\n",
            BadMail => "MAIL TO:<a@b.example>\r\n",
            BadRcpt => "RCPT TO:<>\r\n",
            BadParameter => "MAIL FROM:<a@b.example> AUTH=<>\r\n",
            LongLine => return [&[b'x'; 3000][..], b"\r\n"].concat(),
            Quit => "QUIT\r\n",
        };
        text.as_bytes().to_vec()
    }

    /// Whether more may be sent before its reply (RFC 2920 section 3.1; a chunk is as
    /// good as a command).
    const fn may_be_followed(self) -> bool {
        matches!(
            self,
            Mail | NullSender | Rcpt | RcptUnknown | RcptRefused | RcptDeferred | Rset | Chunk
        )
    }
}

/// Where a session is.
#[derive(Debug, Default)]
struct Model {
    has_greeted: bool,
    has_tls: bool,
    /// MAIL was accepted.
    is_open: bool,
    accepted: usize,
    /// A chunk was accepted.
    has_begun: bool,
}

impl Model {
    /// The reply to a step; two replies to accepted DATA.
    fn reply(&mut self, step: Step) -> Vec<u16> {
        let may_end = self.is_open && self.accepted > 0;
        let code = match step {
            Ehlo | Helo => {
                self.end();
                self.has_greeted = true;
                250
            }
            Mail | NullSender if !self.has_greeted || self.is_open => 503,
            Mail | NullSender => {
                self.is_open = true;
                250
            }
            Rcpt | RcptUnknown | RcptRefused | RcptDeferred if !self.is_open || self.has_begun => {
                503
            }
            Rcpt | RcptUnknown | RcptRefused | RcptDeferred if self.accepted == RECIPIENTS => 452,
            Rcpt => {
                self.accepted += 1;
                250
            }
            RcptUnknown | RcptRefused => 550,
            RcptDeferred => 450,
            Data if !self.is_open || self.has_begun => 503,
            Data if self.accepted == 0 => 554,
            Data => {
                self.end();
                return vec![354, 250];
            }
            Chunk | LastChunk | EmptyLastChunk if !may_end => 503,
            Chunk => {
                self.has_begun = true;
                250
            }
            LastChunk | EmptyLastChunk => {
                self.end();
                250
            }
            Rset => {
                self.end();
                250
            }
            Noop => 250,
            Vrfy => 252,
            Expn => 502,
            Help => 214,
            StartTls if self.has_tls => 503,
            StartTls => {
                *self = Self { has_tls: true, ..Self::default() };
                220
            }
            Unknown | LongLine => 500,
            BadMail | BadRcpt => 501,
            BadParameter => 555,
            Quit => 221,
        };
        vec![code]
    }

    fn end(&mut self) {
        self.is_open = false;
        self.accepted = 0;
        self.has_begun = false;
    }
}

/// Each byte is a step: which one (five bits), whether the next goes with it, and
/// whether its bytes come one by one.
///
/// # Panics
///
/// When a reply of the session is not the model's.
pub fn smtp_model(data: &[u8]) {
    let mut model = Model::default();
    let mut world = World::new();
    assert_eq!(world.replies(), [220], "the greeting");
    let mut steps = Vec::new();
    let mut expected = Vec::new();
    let mut waiting = Vec::new();
    for byte in data.iter().take(COMMANDS) {
        let step = STEPS[usize::from(byte & 31)];
        steps.push(step);
        waiting.extend(step.text());
        let replies = model.reply(step);
        let wants_message = replies.len() == 2;
        expected.extend(replies);
        if step.may_be_followed() && byte & 32 != 0 {
            continue;
        }
        let one_by_one = byte & 64 != 0;
        world.say(&std::mem::take(&mut waiting), one_by_one);
        if wants_message {
            world.say(b"Subject: s\r\n\r\n..a\r\n.\r\n", one_by_one);
        }
        assert_eq!(world.replies(), std::mem::take(&mut expected), "{steps:?}");
        assert_eq!(world.session.is_closed(), step == Quit, "{steps:?}");
        if step == Quit {
            return;
        }
    }
    world.say(&waiting, false);
    assert_eq!(world.replies(), expected, "{steps:?}");
}

/// A session with its policy and its backend, which are always there.
struct World {
    session: Session,
    now: Now,
    told: Vec<u8>,
    backend: Backend,
}

impl World {
    fn new() -> Self {
        let now = Now { monotonic: Instant::now(), unix_ms: 1_795_407_247_000 };
        let settings = Settings {
            recipients: RECIPIENTS,
            errors: u32::MAX,
            invalid_recipients: u32::MAX,
            ..settings()
        };
        let session = Session::new(Arc::new(settings), client(), None, now);
        let mut world = Self { session, now, told: Vec::new(), backend: Backend::default() };
        world.settle();
        world
    }

    fn say(&mut self, bytes: &[u8], one_by_one: bool) {
        for piece in bytes.chunks(if one_by_one { 1 } else { bytes.len().max(1) }) {
            assert!(self.session.wants_client(), "it wants nothing after {}", piece.escape_ascii());
            self.session.client_bytes(piece, self.now);
            self.settle();
        }
    }

    /// Everything that needs no client is done.
    fn settle(&mut self) {
        loop {
            let out = self.session.to_client();
            let count = out.len();
            self.told.extend_from_slice(out.bytes());
            out.sent(count);
            if count > 0 {
                self.session.client_took(self.now);
            }
            let mut heard = Vec::new();
            if let Some(out) = self.session.to_backend() {
                heard.extend_from_slice(out.bytes());
                out.sent(heard.len());
            }
            if !heard.is_empty() {
                self.session.backend_took(self.now);
                let replies = self.backend.hear(&heard);
                self.session.backend_bytes(replies.as_bytes(), self.now);
            }
            match self.session.action() {
                Some(action) => self.act(action),
                None if count == 0 && heard.is_empty() => return,
                None => {}
            }
        }
    }

    fn act(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::Ask(Question::Mail { .. }) => self.session.answer(Answer::Mail(Ok(())), now),
            Action::Ask(Question::Rcpt { recipient, .. }) => {
                let verdict = if recipient.to_string().starts_with("nobody@") {
                    Err(Refusal::new(Reason::UnknownRecipient, "<nobody>"))
                } else {
                    Ok(Permit::without_policy("backend"))
                };
                self.session.answer(Answer::Rcpt(verdict), now);
            }
            Action::Open(_) => {
                self.backend = Backend::default();
                self.session.opened(Ok(opened()), now);
            }
            Action::StartTls => {
                let tls = Tls { version: 13, text: "TLSv1.3".to_owned(), certificate: None };
                self.session.tls_started(tls, now);
            }
            Action::CloseBackend { .. } | Action::Record(_) => {}
        }
    }

    /// The codes of the replies since the last time.
    fn replies(&mut self) -> Vec<u16> {
        let text = String::from_utf8(std::mem::take(&mut self.told)).expect("text");
        let last = text.lines().filter(|line| line.as_bytes().get(3) == Some(&b' '));
        last.map(|line| line[..3].parse().expect("a code")).collect()
    }
}

/// A mail system that keeps to the order of commands, and panics where it is not kept.
#[derive(Default)]
struct Backend {
    input: VecDeque<u8>,
    is_open: bool,
    accepted: usize,
    in_data: bool,
}

impl Backend {
    /// The replies to what it is told.
    fn hear(&mut self, bytes: &[u8]) -> String {
        self.input.extend(bytes);
        let mut replies = String::new();
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            let line = String::from_utf8(line).expect("text");
            let line = line.strip_suffix("\r\n").expect("CR LF");
            replies.push_str(self.line(line));
        }
        replies
    }

    fn line(&mut self, line: &str) -> &'static str {
        if self.in_data {
            if line != "." {
                return "";
            }
            *self = Self { input: std::mem::take(&mut self.input), ..Self::default() };
            return "250 2.0.0 queued\r\n";
        }
        match line.split(['@', ' ', '<']).next().unwrap_or_default() {
            "MAIL" => {
                assert!(!self.is_open, "a second MAIL");
                self.is_open = true;
                "250 2.1.0 ok\r\n"
            }
            "RCPT" => {
                assert!(self.is_open, "RCPT without MAIL");
                if line.contains("<refused@") {
                    return "550 5.1.1 no\r\n";
                }
                if line.contains("<deferred@") {
                    return "450 4.2.0 later\r\n";
                }
                assert!(line.contains("<taken@"), "{line}");
                self.accepted += 1;
                "250 2.1.5 ok\r\n"
            }
            "DATA" => {
                assert!(self.accepted > 0, "DATA without a recipient");
                self.in_data = true;
                "354 go on\r\n"
            }
            "RSET" => {
                *self = Self { input: std::mem::take(&mut self.input), ..Self::default() };
                "250 2.0.0 reset\r\n"
            }
            "QUIT" => "221 2.0.0 bye\r\n",
            _ => panic!("a backend was told {line:?}"),
        }
    }
}
