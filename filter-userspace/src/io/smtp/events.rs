//! What became of every recipient: counted here, and written by a thread of its
//! own, so that no session waits for whoever reads it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::policy::relay::Direction;
use crate::smtp::refusal::Reason;
use crate::smtp::session::{Attempt, Outcome};

/// Events that may wait to be written.
const QUEUE: usize = 16 * 1024;

/// What became of a recipient, with the facts of its client.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) direction: Direction,
    /// Whose host the client is, of what goes out.
    pub(super) customer: Option<Arc<str>>,
    pub(super) client: IpAddr,
    pub(super) country: Option<String>,
    pub(super) helo: String,
    pub(super) tls: Option<String>,
    /// The DNS lists that have it.
    pub(super) reputation: Option<String>,
    /// The result of SPF.
    pub(super) spf: Option<&'static str>,
    pub(super) attempt: Attempt,
}

/// Where events go.
#[derive(Debug)]
pub(super) struct Events {
    queue: SyncSender<Event>,
    lost: AtomicU64,
    accepted: AtomicU64,
    refused: Vec<AtomicU64>,
}

impl Events {
    pub(super) fn start() -> Self {
        let (queue, events) = sync_channel(QUEUE);
        thread::spawn(move || write(&events));
        let refused = Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        Self { queue, lost: AtomicU64::new(0), accepted: AtomicU64::new(0), refused }
    }

    pub(super) fn add(&self, event: Event) {
        let counter = match &event.attempt.outcome {
            Outcome::Accepted => Some(&self.accepted),
            Outcome::Refused(refusal) => {
                let index = Reason::ALL.iter().position(|reason| *reason == refusal.reason);
                index.and_then(|index| self.refused.get(index))
            }
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if self.queue.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Accepted recipients, and refused ones by reason.
    pub(super) fn totals(&self) -> (u64, Vec<(&'static str, u64)>) {
        let refused = Reason::ALL.iter().zip(&self.refused);
        let refused = refused.map(|(reason, count)| (reason.name(), count.load(Ordering::Relaxed)));
        let refused = refused.filter(|(_, count)| *count > 0).collect();
        (self.accepted.load(Ordering::Relaxed), refused)
    }
}

fn write(events: &Receiver<Event>) {
    while let Ok(event) = events.recv() {
        let Event { direction, customer, client, country, helo, tls, reputation, spf, attempt } =
            event;
        let refusal = match &attempt.outcome {
            Outcome::Accepted => None,
            Outcome::Refused(refusal) => Some(refusal),
        };
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let message = attempt.message.as_deref();
        tracing::info!(
            target: "mxdp::smtp",
            reference = attempt.reference,
            outcome = if refusal.is_none() { "accepted" } else { "refused" },
            stage = refusal.map_or("backend", |refusal| refusal.reason.stage().name()),
            reason = refusal.map_or("accepted", |refusal| refusal.reason.name()),
            rule = text(refusal.and_then(|refusal| refusal.rule.as_deref()).map(ToString::to_string)),
            direction = direction.name(),
            customer = customer.as_deref().unwrap_or("-"),
            %client,
            country = text(country),
            helo,
            tls = text(tls),
            reputation = text(reputation),
            spf = spf.unwrap_or("-"),
            sender = text(attempt.sender.as_ref().map(|sender| format!("<{sender}>"))),
            recipient = text(attempt.recipient.as_ref().map(|recipient| format!("<{recipient}>"))),
            reply = text(attempt.reply.as_ref().map(|reply| reply.to_string().trim_end().to_owned())),
            size = attempt.size,
            milliseconds = attempt.ended_ms.saturating_sub(attempt.started_ms),
            backend = text(attempt.backend.as_ref().map(|(name, server)| format!("{name} at {server}"))),
            message_id = text(message.and_then(|message| message.message_id.clone())),
            from = text(message.and_then(|message| message.from.clone())),
            subject = text(message.and_then(|message| message.subject.clone())),
            "recipient"
        );
    }
}
