use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memmem;
use proptest::prelude::*;

use super::dialogue::CLIENT_HIGH;
use super::link::BACKEND_HIGH;
use super::state::State;
use super::*;
use crate::smtp::data::BareNewlines;
use crate::smtp::refusal::{Reason, Refusal};

/// What a client's bytes come in at most, at once.
const READ: usize = 32 * 1024;

fn settings() -> Settings {
    let second = Duration::from_secs(1);
    Settings {
        hostname: "mx.example.org".to_owned(),
        greeting_pause: Duration::ZERO,
        message_size: 1000,
        recipients: 3,
        errors: 5,
        invalid_recipients: 3,
        hops: 3,
        normalise_chunks: true,
        starttls: true,
        times: Times { command: 300 * second, data: 180 * second, data_rate: 64 },
    }
}

fn client() -> Client {
    Client {
        address: [192, 0, 2, 1].into(),
        name: None,
        port: 40000,
        id: "ID".to_owned(),
        bare_newlines: BareNewlines::Refuse,
        offers: Offers::ALL,
    }
}

/// What happens to a session.
#[derive(Clone, Debug)]
enum Event {
    Client(Vec<u8>),
    Backend(&'static str),
    BackendEnd,
    /// Whether backends that are asked for are there from now on.
    Up(bool),
    /// Whether the backend takes bytes from now on.
    Takes(bool),
    /// Whether the client takes bytes from now on.
    Reads(bool),
    Tls,
    Time(u64),
    ShutDown,
    /// It did not end in time.
    GiveUp,
    /// Others need its place.
    MakeWay,
}

/// A session with all that is outside of it.
struct Outside {
    session: Session,
    now: Now,
    /// Bytes of the client that the session does not want yet.
    waiting: Vec<u8>,
    /// Lines that the session was given.
    lines: usize,
    told: Vec<u8>,
    /// What each connection to a backend was told.
    backends: Vec<Vec<u8>>,
    up: bool,
    takes: bool,
    has_blocked: bool,
    reads: bool,
    pipelining: bool,
    start_tls: bool,
    /// Messages that came whole, and those that a backend took.
    ended: usize,
    taken: usize,
    accepted: BTreeSet<String>,
    records: Vec<(Option<Reason>, Option<String>)>,
}

impl Outside {
    fn new(settings: Settings) -> Self {
        let now = Now { monotonic: Instant::now(), unix_ms: 0 };
        let mut outside = Self {
            session: Session::new(Arc::new(settings), client(), None, now),
            now,
            waiting: Vec::new(),
            lines: 0,
            told: Vec::new(),
            backends: Vec::new(),
            up: true,
            takes: true,
            has_blocked: false,
            reads: true,
            pipelining: true,
            start_tls: false,
            ended: 0,
            taken: 0,
            accepted: BTreeSet::new(),
            records: Vec::new(),
        };
        outside.settle();
        outside
    }

    /// Calls the session, and looks at what may never be.
    fn call(&mut self, positive: bool, work: impl FnOnce(&mut Session, Now)) {
        let was_ending = matches!(self.session.state, State::Ending(_));
        let told = self.session.to_client.len();
        work(&mut self.session, self.now);
        let new = self.session.to_client.bytes().get(told..).unwrap_or_default();
        if was_ending && new.starts_with(b"2") {
            assert!(positive, "acknowledged without the backend's word");
        }
        self.ended += usize::from(!was_ending && matches!(self.session.state, State::Ending(_)));
        self.taken += usize::from(was_ending && positive);
        assert!(self.session.to_client.len() <= CLIENT_HIGH + READ + 4096, "memory for the client");
        let for_backend = self.session.to_backend().map_or(0, |out| out.len());
        assert!(for_backend <= BACKEND_HIGH + 2 * READ + 4096, "memory for the backend");
        assert!(self.session.input.rest().len() <= 2 * READ, "memory for what came");
    }

    /// Everything that needs no waiting is done.
    fn settle(&mut self) {
        loop {
            self.write();
            if let Some(action) = self.session.action() {
                self.act(action);
            } else if !self.waiting.is_empty() && self.session.wants_client() {
                let rest = self.waiting.split_off(self.waiting.len().min(READ));
                let bytes = std::mem::replace(&mut self.waiting, rest);
                self.lines += memmem::find_iter(&bytes, b"\n").count();
                self.call(false, |session, now| session.client_bytes(&bytes, now));
            } else if self.session.actions.is_empty() {
                return;
            }
        }
    }

    fn write(&mut self) {
        if self.reads && !self.session.to_client.is_empty() {
            self.told.extend_from_slice(self.session.to_client.bytes());
            let count = self.session.to_client.len();
            self.session.to_client().sent(count);
            self.call(false, Session::client_took);
        }
        if self.takes
            && let Some(out) = self.session.to_backend()
            && !out.is_empty()
        {
            let bytes = out.bytes().to_vec();
            out.sent(bytes.len());
            self.backends.last_mut().expect("one was opened").extend(bytes);
            self.call(false, Session::backend_took);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Ask(Question::Mail { .. }) => {
                self.call(false, |session, now| session.answer(Answer::Mail(Ok(())), now));
            }
            Action::Ask(Question::Rcpt { recipient, .. }) => {
                let verdict = match recipient.to_string().split('@').next() {
                    Some("nobody") => Err(Refusal::new(Reason::UnknownRecipient, "<nobody>")),
                    Some("other") => Ok(Permit::without_policy("other")),
                    _ => Ok(Permit::without_policy("main")),
                };
                self.call(false, |session, now| session.answer(Answer::Rcpt(verdict), now));
            }
            Action::Open(_) => {
                let capabilities =
                    Capabilities { extensions: Extensions::ALL, pipelining: self.pipelining };
                let second = Duration::from_secs(1);
                let times =
                    BackendTimes { reply: 60 * second, data: 180 * second, end: 600 * second };
                let opened = Opened { capabilities, address: "192.0.2.9:25".to_owned(), times };
                let result = if self.up { Ok(opened) } else { Err(OpenFailure::Down) };
                self.backends.push(Vec::new());
                self.call(false, |session, now| session.opened(result, now));
            }
            Action::CloseBackend { .. } => {}
            Action::StartTls => self.start_tls = true,
            Action::Record(attempt) => {
                let reason = match &*attempt.outcome {
                    Outcome::Accepted => {
                        self.accepted.insert(attempt.reference);
                        None
                    }
                    Outcome::Refused(refusal) => Some(refusal.reason),
                };
                let recipient = attempt.recipient.map(|recipient| recipient.to_string());
                self.records.push((reason, recipient));
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Client(bytes) => self.waiting.extend(bytes),
            Event::Backend(text) => {
                let has_link = self.session.link.is_some();
                // What it says before it has heard the end is no word on the message.
                let has_heard = self.session.link.as_ref().is_some_and(|link| link.out.is_empty());
                let positive = has_heard && text.ends_with("\r\n") && text.starts_with('2');
                if has_link {
                    self.call(positive, |session, now| session.backend_bytes(text.as_bytes(), now));
                }
            }
            Event::BackendEnd => self.call(false, Session::backend_end),
            Event::Up(up) => self.up = up,
            Event::Takes(takes) => {
                self.takes = takes;
                self.has_blocked |= !takes;
            }
            Event::Reads(reads) => self.reads = reads,
            Event::Tls if std::mem::take(&mut self.start_tls) => {
                let tls = Tls { version: 13, text: "TLSv1.3".to_owned(), certificate: None };
                self.call(false, |session, now| session.tls_started(tls, now));
            }
            Event::Tls => {}
            Event::Time(seconds) => {
                self.now.monotonic += Duration::from_secs(seconds);
                self.call(false, Session::time);
            }
            Event::ShutDown => self.call(false, Session::shut_down),
            Event::GiveUp => self.call(false, Session::give_up),
            Event::MakeWay => self.call(false, Session::make_way),
        }
        self.settle();
    }

    fn say(&mut self, text: &str) {
        self.happen(Event::Client(text.as_bytes().to_vec()));
    }

    /// What the client was told since the last time.
    fn heard(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.told)).unwrap()
    }

    /// What the last backend was told since the last time.
    fn passed_on(&mut self) -> String {
        let told = self.backends.last_mut().map(std::mem::take).unwrap_or_default();
        String::from_utf8(told).unwrap()
    }

    /// The client goes, and time passes.
    fn end(&mut self) {
        self.call(false, Session::client_end);
        self.settle();
        for _ in 0..20 {
            if self.session.is_closed() {
                return;
            }
            self.now.monotonic = self.session.deadline().max(self.now.monotonic);
            self.call(false, Session::time);
            self.settle();
        }
        panic!("does not end: {:?}", self.session.state);
    }
}

fn event() -> impl Strategy<Value = Event> {
    let said = prop::sample::select(vec![
        "EHLO a\r\n",
        "HELO a\r\n",
        "MAIL FROM:<a@b>\r\n",
        "MAIL FROM:<a@b> BODY=8BITMIME\r\nRCPT TO:<c@d>\r\nDATA\r\n",
        "MAIL FROM:<>\r\nRCPT TO:<c@d>\r\nRCPT TO:<other@d>\r\n",
        "RCPT TO:<c@d>\r\n",
        "RCPT TO:<nobody@d>\r\n",
        "RCPT TO:<other@d>\r\n",
        "DATA\r\n",
        "BDAT 5 LAST\r\nab\r\nc",
        "BDAT 3\r\nabc",
        "BDAT 0 LAST\r\n",
        "BDAT 9999999999\r\n",
        "RSET\r\n",
        "NOOP\r\n",
        "STARTTLS\r\n",
        "NONSENSE\r\n",
        "Received: x\r\n",
        "a line\r\n",
        "..\r\n",
        ".\r\n",
        ".\r\n",
        "\r",
        "\n",
        "\0",
        "QUIT\r\n",
    ]);
    let replied = prop::sample::select(vec![
        "250 2.1.0 ok\r\n",
        "250 2.1.0 ok\r\n",
        "250 ok\r\n",
        "250-a\r\n250 b\r\n",
        "354 go on\r\n",
        "354 go on\r\n",
        "354 go on\r\n",
        "450 later\r\n",
        "550 5.1.1 no\r\n",
        "421 bye\r\n",
        "nonsense\r\n",
    ]);
    prop_oneof![
        12 => said.prop_map(|text| Event::Client(text.as_bytes().to_vec())),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Event::Client),
        1 => (1_usize..40).prop_map(|lines| Event::Client(b"0123456789\r\n".repeat(lines * 100))),
        12 => replied.prop_map(Event::Backend),
        1 => Just(Event::BackendEnd),
        1 => any::<bool>().prop_map(Event::Up),
        1 => any::<bool>().prop_map(Event::Takes),
        1 => any::<bool>().prop_map(Event::Reads),
        1 => Just(Event::Tls),
        2 => (0_u64..100).prop_map(Event::Time),
        2 => prop::sample::select(vec![Event::ShutDown, Event::GiveUp, Event::MakeWay]),
    ]
}

/// Most sessions get somewhere: the start of a message, or a whole one.
fn prefix() -> impl Strategy<Value = Vec<Event>> {
    let say = |text: &str| Event::Client(text.as_bytes().to_vec());
    let begun = vec![
        say("EHLO a\r\n"),
        say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"),
        Event::Backend("250 ok\r\n"),
        Event::Backend("250 ok\r\n"),
    ];
    let mut streaming = begun.clone();
    streaming.extend([say("DATA\r\n"), Event::Backend("354 go on\r\n")]);
    let mut ended = streaming.clone();
    ended.push(say("a\r\n.\r\n"));
    prop::sample::select(vec![Vec::new(), begun, streaming, ended])
}

/// Replies that are whole: their last lines.
fn replies(told: &[u8]) -> usize {
    told.split(|byte| *byte == b'\n').filter(|line| line.get(3) == Some(&b' ')).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_happens_a_session_keeps_its_word(
        prefix in prefix(),
        events in prop::collection::vec(event(), 0..60),
        cut in 1_usize..200,
        pipelining: bool,
        paused: bool,
    ) {
        let pause = Duration::from_secs(u64::from(paused));
        let mut outside = Outside::new(Settings { greeting_pause: pause, ..settings() });
        outside.pipelining = pipelining;
        if paused {
            outside.happen(Event::Time(1));
        }
        for event in prefix.into_iter().chain(events) {
            match event {
                Event::Client(bytes) => {
                    for piece in bytes.chunks(cut) {
                        outside.happen(Event::Client(piece.to_vec()));
                    }
                }
                event => outside.happen(event),
            }
        }
        outside.reads = true;
        outside.settle();
        let has_blocked = outside.has_blocked;
        outside.end();
        // The greeting, and the last word of a session.
        prop_assert!(replies(&outside.told) <= outside.lines + 3, "{:?}", outside.heard());
        prop_assert_eq!(outside.accepted.len(), outside.taken, "acknowledged as taken");
        let ends = |told: &Vec<u8>| memmem::find_iter(told, b"\r\n.\r\n").count();
        let ends: usize = outside.backends.iter().map(ends).sum();
        prop_assert!(ends <= outside.ended && (has_blocked || ends == outside.ended));
        prop_assert!(outside.taken <= outside.ended);
    }

    #[test]
    fn no_bytes_of_a_client_end_in_a_panic(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
    ) {
        let mut outside = Outside::new(settings());
        outside.say("EHLO a\r\n");
        for piece in pieces {
            outside.happen(Event::Client(piece));
        }
        outside.end();
        prop_assert_eq!(outside.ended, 0);
    }
}

/// A session whose EHLO has been answered.
fn greeted() -> Outside {
    let mut outside = Outside::new(settings());
    outside.say("EHLO client.example\r\n");
    outside.told.clear();
    outside
}

#[test]
fn a_group_of_commands_is_answered_in_order() {
    let mut outside = greeted();
    outside
        .say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<nobody@d>\r\nRCPT TO:<e@d>\r\nDATA\r\n");
    // The backend has MAIL and the first recipient in one piece.
    assert_eq!(outside.passed_on(), "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    assert_eq!(outside.heard(), "250 2.1.0 <a@b> sender accepted\r\n");
    outside.happen(Event::Backend("250 2.1.0 ok\r\n250 2.1.5 c\r\n"));
    assert_eq!(
        outside.heard(),
        "250 2.1.5 c\r\n550 5.1.1 <nobody> no such recipient here; reference ID-1\r\n"
    );
    assert_eq!(outside.passed_on(), "RCPT TO:<e@d>\r\n");
    outside.happen(Event::Backend("250 2.1.5 e\r\n"));
    assert_eq!(outside.passed_on(), "DATA\r\n");
    outside.happen(Event::Backend("354 go on\r\n"));
    assert_eq!(outside.heard(), "250 2.1.5 e\r\n354 end data with <CR><LF>.<CR><LF>\r\n");
    outside.say("..x\r\n.\r\nMAIL FROM:<f@b>\r\n");
    assert!(outside.passed_on().ends_with("\r\n..x\r\n.\r\n"));
    assert_eq!(outside.heard(), "");
    outside.happen(Event::Backend("250 2.0.0 queued\r\n"));
    assert_eq!(outside.heard(), "250 2.0.0 queued\r\n250 2.1.0 <f@b> sender accepted\r\n");
}

fn send_message(outside: &mut Outside) {
    outside.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    outside.happen(Event::Backend("250 ok\r\n250 ok\r\n"));
    outside.say("DATA\r\n");
    outside.happen(Event::Backend("354 go on\r\n"));
    outside.say("x\r\n.\r\n");
    outside.happen(Event::Backend("250 2.0.0 queued\r\n"));
    assert!(outside.heard().ends_with("250 2.0.0 queued\r\n"));
}

#[test]
fn a_connection_that_went_stale_is_opened_again() {
    let mut outside = greeted();
    send_message(&mut outside);
    assert_eq!(outside.backends.len(), 1);
    outside.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    assert_eq!(outside.backends.len(), 1, "it is used again");
    outside.happen(Event::BackendEnd);
    assert_eq!(outside.backends.len(), 2);
    assert_eq!(outside.passed_on(), "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    outside.happen(Event::Backend("250 ok\r\n250 2.1.5 c\r\n"));
    assert_eq!(outside.heard(), "250 2.1.0 <a@b> sender accepted\r\n250 2.1.5 c\r\n");
    // A second break is told.
    outside.say("RCPT TO:<e@d>\r\n");
    outside.happen(Event::BackendEnd);
    assert!(outside.heard().starts_with("451 4.4.2 <e@d> "));
    assert_eq!(outside.backends.len(), 2);
}

/// What the backend says of its own end is the client's to know (RFC 5321 section 3.8).
#[test]
fn the_last_word_of_a_backend_is_passed_on() {
    let mut outside = greeted();
    outside.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    outside.happen(Event::Backend("250 ok\r\n421 4.7.0 too many of you\r\n"));
    assert!(outside.heard().ends_with("451 4.7.0 too many of you\r\n"));
    assert_eq!(outside.records, [(Some(Reason::BackendRefused), Some("c@d".to_owned()))]);
}

#[test]
fn a_backend_that_is_lost_before_data_has_no_message() {
    let mut outside = greeted();
    outside.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    outside.happen(Event::Backend("250 ok\r\n250 ok\r\n"));
    outside.happen(Event::BackendEnd);
    outside.heard();
    outside.say("DATA\r\n");
    assert!(outside.heard().starts_with("451 4.4.2 the mail system does not answer"));
    assert_eq!(outside.records, [(Some(Reason::BackendLost), Some("c@d".to_owned()))]);
    // The next message has a connection of its own.
    send_message(&mut outside);
    assert_eq!(outside.backends.len(), 2);
}

#[test]
fn a_reply_is_not_believed_while_tls_holds_the_end_back() {
    for held in [false, true] {
        let mut outside = greeted();
        outside.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
        outside.happen(Event::Backend("250 ok\r\n250 ok\r\n"));
        outside.say("DATA\r\n");
        outside.happen(Event::Backend("354 go on\r\n"));
        outside.say("x\r\n.\r\n");
        outside.heard();
        outside.session.backend_holds_back(held);
        outside.call(!held, |session, now| session.backend_bytes(b"250 2.0.0 queued\r\n", now));
        outside.settle();
        let heard = outside.heard();
        assert_eq!(heard.starts_with("250 "), !held, "{heard}");
        assert_eq!(heard.starts_with("451 4.4.2 "), held, "{heard}");
    }
}

/// A message with thousands of recipients makes progress with every attempt (RFC 5321 section
/// 4.5.3.1.10): those that were accepted are not lost for those that must come again.
#[test]
fn a_session_ends_after_a_thousand_refused_recipients_unless_some_are_accepted() {
    let mut outside = greeted();
    outside.say("MAIL FROM:<a@b>\r\n");
    for replies in ["250 ok\r\n250 ok\r\n", "250 ok\r\n", "250 ok\r\n"] {
        outside.say("RCPT TO:<c@d>\r\n");
        outside.happen(Event::Backend(replies));
    }
    outside.heard();
    for _ in 0..5000 {
        outside.say("RCPT TO:<e@d>\r\n");
        assert!(outside.heard().starts_with("452 "));
    }
    outside.say("DATA\r\n");
    outside.happen(Event::Backend("354 go on\r\n"));
    outside.say("x\r\n.\r\n");
    outside.happen(Event::Backend("250 2.0.0 queued\r\n"));
    assert!(outside.heard().ends_with("250 2.0.0 queued\r\n"));
    // Without a message, the same is too much, unless they are to come again.
    outside.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    outside.happen(Event::Backend("250 ok\r\n554 5.7.1 no\r\n"));
    outside.heard();
    for _ in 0..999 {
        for (reply, code) in [("554 5.7.1 no\r\n", "554 "), ("450 later\r\n", "450 ")] {
            outside.say("RCPT TO:<e@d>\r\n");
            outside.happen(Event::Backend(reply));
            assert!(outside.heard().starts_with(code));
        }
    }
    outside.say("RCPT TO:<e@d>\r\n");
    outside.happen(Event::Backend("554 5.7.1 no\r\n"));
    assert!(outside.heard().starts_with("421 4.7.0 "));
    assert!(outside.session.is_closed());
}

/// What is put in front of a message is not continued by it, whichever field is last
/// (RFC 5322 section 2.2.3).
#[test]
fn a_message_that_begins_with_white_space_has_no_header() {
    for (text, body) in [
        ("\tx\r\n", "\r\n\tx\r\n"),
        (". x\r\n", "\r\n x\r\n"),
        ("\r\n x\r\n", "\r\n x\r\n"),
        ("Subject: a\r\n b\r\n", "Subject: a\r\n b\r\n"),
    ] {
        for cut in 0..text.len() {
            let mut outside = greeted();
            outside.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
            outside.happen(Event::Backend("250 ok\r\n250 ok\r\n"));
            outside.say("DATA\r\n");
            outside.happen(Event::Backend("354 go on\r\n"));
            outside.say(&text[..cut]);
            outside.say(&text[cut..]);
            outside.say(".\r\n");
            let told = outside.passed_on();
            let (_, message) = told.split_once("Received: ").unwrap();
            let (_, rest) = message.split_once("+0000\r\n").unwrap();
            assert_eq!(rest, format!("{body}.\r\n"), "{text:?} cut at {cut}");
            outside.happen(Event::Backend("250 2.0.0 queued\r\n"));
            assert!(outside.heard().ends_with("250 2.0.0 queued\r\n"));
        }
    }
}

/// Whatever a backend says before the final dot is on its way is not its word on the
/// message, and be it one byte.
#[test]
fn a_reply_that_began_before_the_end_is_not_believed() {
    let reply = "250-2.0.0 a\r\n250 2.0.0 queued\r\n";
    for cut in 1..reply.len() {
        for in_reply_to_data in [true, false] {
            let mut outside = greeted();
            outside.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
            outside.happen(Event::Backend("250 ok\r\n250 ok\r\n"));
            outside.say("DATA\r\n");
            outside.happen(Event::Backend("354 go on\r\n"));
            outside.say("x\r\n");
            if !in_reply_to_data {
                // The end is written, and has not left.
                outside.happen(Event::Takes(false));
                outside.say(".\r\n");
            }
            outside.call(false, |session, now| {
                session.backend_bytes(&reply.as_bytes()[..cut], now);
            });
            outside.settle();
            outside.happen(Event::Takes(true));
            if in_reply_to_data {
                outside.say(".\r\n");
            }
            assert!(outside.session.link.is_none(), "cut at {cut}: nothing more is heard");
            let heard = outside.heard();
            assert!(heard.contains("451 4.4.2 ") && !heard.contains("queued"), "{heard}");
        }
    }
}

/// A chunk that nobody wants has a deadline of its own, as a message has.
#[test]
fn a_discarded_chunk_is_not_waited_for_without_end() {
    for announced in ["BDAT 1000\r\n", "BDAT 1000 LAST\r\nabc"] {
        let mut outside = greeted();
        outside.say(announced);
        outside.happen(Event::Time(179));
        assert!(!outside.session.is_closed());
        outside.happen(Event::Time(2));
        assert!(outside.heard().starts_with("421 4.4.2 timed out waiting for input"));
        assert!(outside.session.is_closed());
    }
    // Byte by byte it lasts no longer than the data rate permits.
    let mut outside = greeted();
    outside.say("BDAT 1000\r\n");
    for _ in 0..30 {
        outside.happen(Event::Time(10));
        outside.say("x");
    }
    assert!(outside.heard().starts_with("421 4.4.2 "));
}

/// Chunks without content carry no mail: they do not keep a session for ever.
#[test]
fn empty_chunks_do_not_keep_a_session() {
    let mut outside = greeted();
    outside.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    outside.happen(Event::Backend("250 ok\r\n250 ok\r\n"));
    outside.say("BDAT 0\r\n");
    outside.happen(Event::Backend("354 go on\r\n"));
    for _ in 0..200 {
        outside.say("BDAT 0\r\n");
    }
    assert!(outside.session.is_closed());
}

#[test]
fn aborted_recipients_count_and_a_message_resets_what_was_counted() {
    let mut outside = greeted();
    let abort = |outside: &mut Outside, first: bool| {
        outside.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
        if outside.session.is_closed() {
            return false;
        }
        let replies = if first { "250 ok\r\n250 ok\r\n" } else { "250 ok\r\n250 ok\r\n250 ok\r\n" };
        outside.happen(Event::Backend(replies));
        for _ in 0..2 {
            outside.say("RCPT TO:<c@d>\r\n");
            outside.happen(Event::Backend("250 ok\r\n"));
        }
        outside.say("RSET\r\n");
        outside.heard();
        true
    };
    for round in 0..300 {
        assert!(abort(&mut outside, round == 0), "round {round}");
    }
    // A message is accepted: it begins anew.
    outside.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
    outside.happen(Event::Backend("250 ok\r\n250 ok\r\n250 ok\r\n"));
    outside.say("DATA\r\n");
    outside.happen(Event::Backend("354 go on\r\n"));
    outside.say("x\r\n.\r\n");
    outside.happen(Event::Backend("250 2.0.0 queued\r\n"));
    let mut rounds = 0;
    while abort(&mut outside, rounds == 0) {
        rounds += 1;
        assert!(rounds < 400, "it goes on for ever");
    }
    assert_eq!(rounds, 334, "a thousand and some");
    assert!(outside.heard().contains("421 4.7.0 too many recipients were refused"));
}

#[test]
fn what_follows_from_a_refusal_is_no_error() {
    let mut outside = greeted();
    for _ in 0..20 {
        // A recipient that does not exist, and chunks that did not wait for it.
        outside.say("RSET\r\nMAIL FROM:<>\r\nRCPT TO:<nobody@d>\r\nDATA\r\n");
        outside.say("BDAT 2\r\nx\nBDAT 0 LAST\r\n");
    }
    let heard = outside.heard();
    assert_eq!(heard.matches("554 5.5.1 no valid recipients").count(), 20, "{heard}");
    assert_eq!(heard.matches("503 5.5.1 MAIL and RCPT come before BDAT").count(), 40, "{heard}");
    // Without a refusal they are errors.
    outside.say("RSET\r\n");
    for _ in 0..6 {
        outside.say("DATA\r\n");
    }
    assert!(outside.heard().contains("421 4.7.0 too many errors"));
}

/// A backend is told who the client is once a connection: another name needs another one.
#[test]
fn a_client_that_changes_its_name_has_another_connection_to_the_backend() {
    let mut outside = greeted();
    let mut deliver = |hello: &str| {
        outside.say(hello);
        outside.say("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
        outside.happen(Event::Backend("250 ok\r\n250 ok\r\n"));
        outside.say("DATA\r\n");
        outside.happen(Event::Backend("354 go on\r\n"));
        outside.say("x\r\n.\r\n");
        outside.happen(Event::Backend("250 2.0.0 queued\r\n"));
        assert!(outside.heard().ends_with("250 2.0.0 queued\r\n"));
        outside.backends.len()
    };
    let counts = ["", "EHLO one.example\r\n", "EHLO one.example\r\n", "HELO two.example\r\n"];
    assert_eq!(counts.map(&mut deliver), [1, 2, 2, 3]);
}

/// What comes before the greeting is kept only as long as it may be a look at it.
#[test]
fn a_look_before_the_greeting_is_short() {
    let settings = Settings { greeting_pause: Duration::from_secs(5), ..settings() };
    for (bytes, code) in [
        (b"HELO x\r\nQUIT\r\n".to_vec(), "220 "),
        ([&b"\x16\x03\x01"[..], &[0; 2000]].concat(), "220 "),
        ([&b"\x16\x03\x01"[..], &[0; 5000]].concat(), "554 5.5.1 "),
        ([&b"\n".repeat(5000)[..], b"QUIT\r\n"].concat(), "554 5.5.1 "),
        (b"HELO x\r\nMAIL FROM:<a@b>\r\nQUIT\r\n".to_vec(), "554 5.5.1 "),
    ] {
        let mut outside = Outside::new(settings.clone());
        outside.happen(Event::Client(bytes));
        outside.happen(Event::Time(6));
        let heard = outside.heard();
        assert!(heard.starts_with(code), "{heard}");
        assert!(outside.session.is_closed());
    }
}
