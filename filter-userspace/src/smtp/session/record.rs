//! The outcome of each recipient: an [`Attempt`] for the mail log.

use std::sync::Arc;

use super::attempt::{Attempt, Outcome};
use super::body::Ending;
use super::facts::{Action, Now};
use super::state::Session;
use crate::smtp::address::ForwardPath;
use crate::smtp::refusal::{Reason, Refusal};
use crate::smtp::reply::Reply;

impl Session {
    /// The reference of the next mail log entry.
    pub(super) fn reference(&mut self) -> String {
        self.references += 1;
        format!("{}-{}", self.client.id, self.references)
    }

    pub(super) fn record_refused(
        &mut self,
        recipient: Option<ForwardPath>,
        refusal: Refusal,
        reply: Reply,
        reference: String,
        now: Now,
    ) {
        let outcome = Arc::new(Outcome::Refused(refusal));
        self.record(recipient, outcome, Some(Arc::new(reply)), reference, None, now);
    }

    pub(super) fn record(
        &mut self,
        recipient: Option<ForwardPath>,
        outcome: Arc<Outcome>,
        reply: Option<Arc<Reply>>,
        reference: String,
        message: Option<&Ending>,
        now: Now,
    ) {
        let transaction = self.transaction.as_ref();
        let attempt = Attempt {
            reference,
            started_ms: transaction.map_or(now.unix_ms, |open| open.started_ms),
            ended_ms: now.unix_ms,
            sender: transaction.map(|open| open.sender.clone()),
            recipient,
            outcome,
            reply,
            size: message.map_or(0, |message| message.size),
            message: message.map(|message| message.facts.clone()),
            backend: self
                .link
                .as_ref()
                .map(|link| (link.backend.to_string(), link.address.clone()))
                // A connection that broke is named too.
                .or_else(|| transaction.and_then(|open| open.served.clone())),
        };
        self.actions.push_back(Action::Record(Box::new(attempt)));
    }

    /// Records a recipient whose client did not wait for the answer.
    pub(super) fn record_gone(&mut self, recipient: ForwardPath, now: Now) {
        let reference = self.reference();
        let outcome = Arc::new(Outcome::Refused(Refusal::new(Reason::ClientGone, "")));
        self.record(Some(recipient), outcome, None, reference, None, now);
    }

    /// Records what a transaction without a message leaves. If a reply of ours ended it, `told` is
    /// that reply with its reference.
    pub(super) fn record_unfinished(&mut self, told: Option<&(Reply, String)>, now: Now) {
        let Some(transaction) = &mut self.transaction else { return };
        let unrecorded = transaction.unrecorded.take();
        let accepted = std::mem::take(&mut transaction.accepted);
        self.counts.abort(accepted.len());
        if let Some((refusal, reply, reference)) = unrecorded {
            self.record_refused(None, refusal, reply, reference, now);
        }
        let outcome = Arc::new(Outcome::Refused(Refusal::new(Reason::NoMessage, "")));
        let told = told.map(|(reply, reference)| (Arc::new(reply.clone()), reference));
        for recipient in accepted.iter() {
            let (reply, reference) = match &told {
                Some((reply, reference)) => (Some(reply.clone()), (*reference).clone()),
                None => (None, self.reference()),
            };
            self.record(Some(recipient), outcome.clone(), reply, reference, None, now);
        }
    }
}
