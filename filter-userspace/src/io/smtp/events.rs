//! The outcome of every recipient: counted here, passed to the mail log, and written to the log by
//! a thread of its own, so that no session waits for the log's reader. What one client produces too
//! much of is folded ([`crate::record::folding`]).

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::handshakes::Failed;
use crate::io::clock;
use crate::io::weighed::{self, Receiver, Sender};
use crate::lists::ClientNetwork;
use crate::policy::relay::Direction;
use crate::record::folding::{Folding, Sums};
use crate::record::{self, Record, Status};
use crate::smtp::refusal::{Reason, Refusal, Stage};
use crate::smtp::reply::Reply;
use crate::smtp::session::{Attempt, Outcome};

/// The maximum number of records that wait to be logged, and their size in bytes: clients choose
/// most of their contents.
const QUEUE: usize = 16 * 1024;
const QUEUE_BYTES: u64 = 8 << 20;

/// How often folded records are recorded, which makes them as durable as any other.
const FOLDED: Duration = Duration::from_millis(500);

/// How often folded records are logged: one line of each kind, however many there are.
const LOGGED: Duration = Duration::from_secs(60);

/// The function that keeps records; it never waits. It returns a record for which its client's
/// network has no share of the queue.
pub type Sink = Arc<dyn Fn(Record) -> Option<Record> + Send + Sync>;

/// The destination of records.
pub struct Recording {
    /// The function that keeps them.
    pub sink: Sink,
    /// Whether subjects are kept.
    pub subject: bool,
}

/// The outcome of a recipient, with the facts of its client.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) direction: Direction,
    /// The customer whose host the client is, for outgoing mail.
    pub(super) customer: Option<Arc<str>>,
    pub(super) client: IpAddr,
    pub(super) country: Option<String>,
    pub(super) helo: String,
    pub(super) tls: Option<String>,
    /// The DNS lists that list it.
    pub(super) reputation: Option<String>,
    /// The result of SPF.
    pub(super) spf: Option<&'static str>,
    pub(super) attempt: Attempt,
}

/// The receiver of events.
pub(super) struct Events {
    log: Sender<Record>,
    recording: Recording,
    folding: Arc<Mutex<Folding>>,
    unlogged: AtomicU64,
    accepted: AtomicU64,
    refused: Vec<AtomicU64>,
}

impl Events {
    pub(super) fn start(recording: Recording) -> Self {
        let (log, records) = weighed::queue(QUEUE, QUEUE_BYTES);
        let folding = Arc::<Mutex<Folding>>::default();
        let (folded, sink) = (folding.clone(), recording.sink.clone());
        thread::spawn(move || write(&records, &folded, &sink));
        let refused = Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        let (unlogged, accepted) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { log, recording, folding, unlogged, accepted, refused }
    }

    pub(super) fn add(&self, event: Event) {
        let counter = match &*event.attempt.outcome {
            Outcome::Accepted => Some(&self.accepted),
            Outcome::Refused(refusal) => {
                let index = Reason::ALL.iter().position(|reason| *reason == refusal.reason);
                index.and_then(|index| self.refused.get(index))
            }
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let network = ClientNetwork::of(event.client).first();
        let mut record = record(event);
        if !self.recording.subject {
            record.subject = None;
        }
        self.add_record(network, record);
    }

    /// Records and logs an entry of a client network, or counts it in another entry.
    fn add_record(&self, network: IpAddr, record: Record) {
        let kept = self.folding().add(network, record);
        if let Some(record) = kept {
            self.keep(network, record);
        }
    }

    fn folding(&self) -> MutexGuard<'_, Folding> {
        self.folding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records and logs an entry of its own.
    fn keep(&self, network: IpAddr, record: Record) {
        if let Some(record) = (self.recording.sink)(record.clone()) {
            // Its network has used its share of the queue.
            if let Some(folded) = self.folding().fold(network, Record { session: None, ..record }) {
                _ = (self.recording.sink)(folded);
            }
            return;
        }
        // An entry that could not be folded is recorded by itself, but is not worth a log line.
        if record.folds {
            return;
        }
        let (weight, owner) = (record.weight(), record.owner());
        if self.log.try_send(record, weight, owner).is_err() {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records failed handshakes. They are counted by cause elsewhere.
    pub(super) fn add_handshake(&self, failed: &Failed, country: Option<String>) {
        let reason = Reason::TlsHandshake;
        let (stage, status) = (reason.stage(), Status::Temporary);
        let client = failed.client.to_canonical();
        let record = Record {
            direction: failed.direction.into(),
            country,
            rule: Some(cut(format!("{}: {}", failed.cause.name(), failed.why), LONGEST)),
            count: failed.count,
            ..Record::new(clock::unix_ms(), client, status, stage, reason)
        };
        self.add_record(ClientNetwork::of(client).first(), record);
    }

    /// The number of records that are missing from the log.
    pub(super) fn unlogged(&self) -> u64 {
        self.unlogged.load(Ordering::Relaxed)
    }

    /// The numbers of accepted recipients, and of refused ones by reason.
    pub(super) fn totals(&self) -> (u64, Vec<(&'static str, u64)>) {
        let refused = Reason::ALL.iter().zip(&self.refused);
        let refused = refused.map(|(reason, count)| (reason.name(), count.load(Ordering::Relaxed)));
        let refused = refused.filter(|(_, count)| *count > 0).collect();
        (self.accepted.load(Ordering::Relaxed), refused)
    }
}

/// The record of an event; clients' texts are cut to a length.
fn record(event: Event) -> Record {
    let Event { direction, customer, client, country, helo, tls, reputation, spf, attempt } = event;
    let refusal = match &*attempt.outcome {
        Outcome::Accepted => None,
        Outcome::Refused(refusal) => Some(refusal),
    };
    let stage = refusal.map_or(Stage::Backend, |refusal| refusal.reason.stage());
    let reason = refusal.map_or(record::Reason::Accepted, |refusal| refusal.reason.into());
    let status = refusal.map_or(Status::Delivered, |refusal| status(refusal, &attempt));
    let rule = refusal.and_then(|refusal| refusal.rule.as_deref()).map(ToString::to_string);
    let rule = rule.or_else(|| reputation.clone().filter(|_| stage == Stage::Reputation));
    let message = attempt.message.as_deref();
    let session = attempt.reference.rsplit_once('-').map(|(session, _)| session.to_owned());
    let cut = |text: Option<String>| text.map(|text| cut(text, LONGEST));
    Record {
        direction: direction.into(),
        country,
        sender: cut(attempt.sender.as_ref().map(ToString::to_string)),
        recipient: cut(attempt.recipient.as_ref().map(ToString::to_string)),
        rule: cut(rule),
        reply: attempt.reply.as_ref().map(|reply| self::cut(said(reply), LONGEST_REPLY)),
        helo: cut(Some(helo).filter(|helo| !helo.is_empty())),
        tls,
        reputation: cut(reputation),
        spf: spf.map(str::to_owned),
        size: attempt.size,
        duration_ms: attempt.ended_ms.saturating_sub(attempt.started_ms),
        session,
        reference: Some(attempt.reference),
        customer: customer.map(|customer| customer.to_string()),
        backend: attempt.backend.map(|(name, server)| format!("{name} at {server}")),
        message_id: cut(message.and_then(|message| message.message_id.clone())),
        from: cut(message.and_then(|message| message.from.clone())),
        subject: cut(message.and_then(|message| message.subject.clone())),
        ..Record::new(attempt.ended_ms, client, status, stage, reason)
    }
}

/// The status by the reply that was sent; without one, by the reply that would have been sent.
fn status(refusal: &Refusal, attempt: &Attempt) -> Status {
    let code = attempt.reply.as_ref().map_or(refusal.reason.code(), |reply| reply.code);
    if code / 100 == 5 { Status::Permanent } else { Status::Temporary }
}

/// A reply with a line feed after each line.
fn said(reply: &Reply) -> String {
    reply.to_string().replace("\r\n", "\n").trim_end().to_owned()
}

/// The longest reply that is kept, in bytes.
const LONGEST_REPLY: usize = 4_096;

/// The longest client text that is kept, in bytes.
const LONGEST: usize = 512;

fn cut(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        let end = (0..=longest).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
    text
}

/// Logs records as they arrive, and records and logs folded ones from time to time.
fn write(records: &Receiver<Record>, folding: &Mutex<Folding>, sink: &Sink) {
    let (mut last, mut logged) = (Instant::now(), Instant::now());
    let mut lines = Sums::default();
    loop {
        let came = records.recv_timeout(FOLDED.saturating_sub(last.elapsed()));
        let is_last = matches!(came, Err(RecvTimeoutError::Disconnected));
        if last.elapsed() >= FOLDED || is_last {
            last = Instant::now();
            let folded = folding.lock().unwrap_or_else(PoisonError::into_inner).take();
            for record in folded {
                // If a sum cannot be kept, only the mail log has it.
                _ = lines.add(record.clone());
                // It is counted already, so none is returned.
                _ = sink(record);
            }
        }
        if logged.elapsed() >= LOGGED || is_last {
            logged = Instant::now();
            lines.take().iter().for_each(log);
        }
        match came {
            Ok((record, _)) => log(&record),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn log(record: &Record) {
    if record.reason == Reason::TlsHandshake.into() {
        return log_handshake(record);
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let path = |value: &Option<String>| {
        value.as_ref().map_or_else(|| "-".to_owned(), |path| format!("<{path}>"))
    };
    tracing::info!(
        target: "mxdp::smtp",
        reference = text(&record.reference),
        outcome = if record.status == Status::Delivered { "accepted" } else { "refused" },
        stage = record.stage.code(),
        reason = record.reason.code(),
        rule = text(&record.rule),
        direction = record.direction.code(),
        customer = text(&record.customer),
        client = %record.ip,
        country = text(&record.country),
        helo = record.helo.as_deref().unwrap_or_default(),
        tls = text(&record.tls),
        reputation = text(&record.reputation),
        spf = text(&record.spf),
        sender = path(&record.sender),
        recipient = path(&record.recipient),
        reply = text(&record.reply),
        size = record.size,
        count = record.count,
        milliseconds = record.duration_ms,
        backend = text(&record.backend),
        message_id = text(&record.message_id),
        from = text(&record.from),
        subject = text(&record.subject),
        "recipient"
    );
}

fn log_handshake(record: &Record) {
    tracing::info!(
        target: "mxdp::smtp",
        stage = record.stage.code(),
        reason = record.reason.code(),
        client = %record.ip,
        country = record.country.as_deref().unwrap_or("-"),
        cause = record.rule.as_deref().unwrap_or("-"),
        count = record.count,
        "handshake failed"
    );
}
