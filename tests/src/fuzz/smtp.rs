//! The SMTP side: sessions, messages, and words.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mxdp::smtp::address::Mailbox;
use mxdp::smtp::command::Command;
use mxdp::smtp::data::{BareNewlines, Decoder, Stuffer};
use mxdp::smtp::header::HeaderScan;
use mxdp::smtp::reply::Replies;
use mxdp::smtp::session::{
    Action, Answer, BackendTimes, Capabilities, Client, Extensions, Now, Offers, OpenFailure,
    Opened, Permit, Question, Session, Settings, Times,
};

/// The most that a session may buffer for either side, in bytes.
const BOUND: usize = 512 * 1024;

/// A session between a client and a backend that both say anything, at any pace.
/// The first byte of each piece gives the speaker and the length.
///
/// # Panics
///
/// When the session keeps too much, or does not end.
pub fn smtp_session(data: &[u8]) {
    let start = Instant::now();
    let mut now = Now { monotonic: start, unix_ms: 1_795_407_247_000 };
    let mut session = Session::new(Arc::new(settings()), client(), None, now);
    let mut rest = data;
    while let [kind, tail @ ..] = rest {
        let (piece, next) = tail.split_at(usize::from(kind >> 3).min(tail.len()));
        rest = next;
        match kind & 7 {
            0..=3 => {
                if session.wants_client() {
                    session.client_bytes(piece, now);
                }
            }
            4 => session.backend_bytes(piece, now),
            // What a well-behaved backend would say, so that messages get far.
            5 => session.backend_bytes(b"250 2.0.0 ok\r\n", now),
            6 => session.backend_bytes(b"354 go on\r\n", now),
            _ => {
                now.monotonic += Duration::from_secs(u64::from(kind >> 3));
                session.time(now);
            }
        }
        act(&mut session, data.len().is_multiple_of(7), now);
        if kind & 8 == 0 {
            let count = session.to_client().len();
            session.to_client().sent(count);
            session.client_took(now);
            if let Some(out) = session.to_backend() {
                let count = out.len();
                out.sent(count);
                session.backend_took(now);
            }
        }
        let kept = session.to_client().len() + session.to_backend().map_or(0, |out| out.len());
        assert!(kept < BOUND + data.len(), "{kept} octets are kept");
    }
    session.client_lost(now);
    for _ in 0..10 {
        act(&mut session, true, now);
        now.monotonic += Duration::from_secs(3600);
        session.time(now);
    }
    assert!(session.is_closed(), "the session does not end");
}

/// Does what a session asks for.
fn act(session: &mut Session, refuses: bool, now: Now) {
    while let Some(action) = session.action() {
        match action {
            Action::Ask(Question::Mail { .. }) => session.answer(Answer::Mail(Ok(())), now),
            Action::Ask(Question::Rcpt { .. }) => {
                let permit = Permit::without_policy("backend");
                session.answer(Answer::Rcpt(Ok(permit)), now);
            }
            Action::Open(_) if refuses => session.opened(Err(OpenFailure::Down), now),
            Action::Open(_) => {
                session.opened(Ok(opened()), now);
            }
            Action::CloseBackend { .. } | Action::StartTls | Action::Record(_) => {}
        }
    }
}

/// A backend that offers everything.
pub(super) fn opened() -> Opened {
    let capabilities = Capabilities { extensions: Extensions::ALL, pipelining: true };
    let time = Duration::from_secs(300);
    let times = BackendTimes { reply: time, data: time, end: time };
    Opened { capabilities, address: "192.0.2.2:25".to_owned(), times }
}

pub(super) fn settings() -> Settings {
    let time = Duration::from_secs(300);
    Settings {
        hostname: "mx.example.org".to_owned(),
        greeting_pause: Duration::ZERO,
        message_size: 4096,
        recipients: 10,
        errors: 10,
        invalid_recipients: 5,
        hops: 10,
        normalise_chunks: false,
        starttls: true,
        times: Times { command: time, data: time, data_rate: 64 },
    }
}

pub(super) fn client() -> Client {
    Client {
        address: [192, 0, 2, 1].into(),
        name: None,
        port: 1025,
        id: "ID".to_owned(),
        bare_newlines: BareNewlines::Refuse,
        offers: Offers::ALL,
    }
}

/// A message off the wire, onto it, and off it again.
///
/// # Panics
///
/// When what goes out has a bare CR or LF, a NUL, or more than one end.
pub fn smtp_data(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let bare = BareNewlines::from(first & 1 == 1);
    let mut decoder = if first & 2 == 2 { Decoder::chunks(bare) } else { Decoder::data(bare) };
    let mut stuffer = Stuffer::new();
    let mut scan = HeaderScan::new();
    let mut out = Vec::new();
    for piece in data.chunks(usize::from(first >> 2).max(1)) {
        let decoded = decoder.decode(piece, |piece| {
            scan.look(piece);
            stuffer.write(piece, &mut out);
        });
        match decoded {
            Ok(decoded) if decoded.ended => break,
            Ok(_) => {}
            Err(_) => return,
        }
    }
    if decoder.end_of_chunks(|piece| stuffer.write(piece, &mut out)).is_err() {
        return;
    }
    stuffer.end(&mut out);
    _ = scan.facts();
    let mut strict = Decoder::data(BareNewlines::Refuse);
    let again = strict.decode(&out, |_| ()).expect("what goes out is strict");
    assert!(again.ended && again.used == out.len(), "one end, and nothing behind it");
}

/// Commands, addresses and a backend's replies.
///
/// # Panics
///
/// When an accepted value could break a line.
pub fn smtp_words(data: &[u8]) {
    let written = match Command::parse(data) {
        Ok(Command::Mail(path, _)) => path.to_string(),
        Ok(Command::Rcpt(path, _)) => path.to_string(),
        Ok(Command::Helo(name) | Command::Ehlo(name)) => name.into(),
        _ => String::new(),
    };
    assert!(!written.chars().any(char::is_control), "{written:?}");
    if let Some(mailbox) = std::str::from_utf8(data).ok().and_then(|text| Mailbox::parse(text).ok())
    {
        let again = Mailbox::parse(&mailbox.to_string()).expect("an address");
        assert_eq!(again.key(), mailbox.key());
    }
    let mut replies = Replies::default();
    replies.push(data);
    while let Ok(Some(reply)) = replies.take() {
        let text = reply.to_string();
        assert!(!text.trim_end_matches("\r\n").replace("\r\n", "").chars().any(char::is_control));
    }
}
