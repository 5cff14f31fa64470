//! The end of a message: the backend's reply is the client's reply.

use std::sync::Arc;

use super::attempt::Outcome;
use super::body::Ending;
use super::counts::Counts;
use super::facts::Now;
use super::state::Session;
use crate::smtp::refusal::{Reason, Refusal};
use crate::smtp::reply::Reply;

/// The number of recipients of a message whose mail log entries have the header's facts and the
/// whole reply. Entries of a thousand recipients would be a thousand copies of text that the client
/// and the backend chose.
const WHOLE: usize = 10;

/// The maximum length of each fact in the entries of the others, in bytes.
const SHORT: usize = 64;

impl Session {
    pub(super) fn ending_reply(&mut self, ending: &Ending, reply: &Reply, now: Now) {
        if self.link.as_ref().is_none_or(|link| !link.has_sent_all()) {
            // The end has not been sent yet: whatever this is, it is not a reply to it.
            self.drop_link();
            let refusal = if reply.is_positive() {
                Refusal::new(Reason::BackendLost, "")
            } else {
                Refusal::passed(reply.clone())
            };
            return self.ending_refused(ending, refusal, now);
        }
        if !reply.is_positive() {
            if reply.code == 421 || reply.code / 100 == 3 {
                self.drop_link();
            }
            let recipients = self.transaction.as_ref().map_or(0, |open| open.accepted.len());
            let refusal = Refusal::of_message(reply.clone(), recipients);
            return self.ending_refused(ending, refusal, now);
        }
        let reply = self.for_client(&reply.clone().with_enhanced());
        self.finish(&Arc::new(Outcome::Accepted), &reply, ending, now);
        if let Some(link) = &mut self.link {
            link.dirty = false;
            link.used = true;
        }
        self.ending_told(&reply, ending.heard, now);
    }

    pub(super) fn ending_lost(&mut self, ending: &Ending, now: Now) {
        self.drop_link();
        self.ending_refused(ending, Refusal::new(Reason::BackendLost, ""), now);
    }

    fn ending_refused(&mut self, ending: &Ending, refusal: Refusal, now: Now) {
        let reply = self.finish_refused(refusal, Some(ending), now);
        self.ending_told(&reply, ending.heard, now);
    }

    fn ending_told(&mut self, reply: &Reply, heard: bool, now: Now) {
        if !heard {
            return self.close(now);
        }
        self.send(reply);
        self.ready(now);
    }

    /// Ends the transaction with the same refusal for all its recipients.
    pub(super) fn finish_refused(
        &mut self,
        refusal: Refusal,
        ending: Option<&Ending>,
        now: Now,
    ) -> Reply {
        let reference = match ending {
            Some(ending) => ending.reference.clone(),
            None => self.reference(),
        };
        let reply = self.for_client(&refusal.reply(&reference));
        let nobody = Ending { facts: Arc::default(), size: 0, reference, heard: true };
        self.finish(&Arc::new(Outcome::Refused(refusal)), &reply, ending.unwrap_or(&nobody), now);
        reply
    }

    fn finish(&mut self, outcome: &Arc<Outcome>, reply: &Reply, ending: &Ending, now: Now) {
        let accepted = self.transaction.as_mut().map(|open| std::mem::take(&mut open.accepted));
        let short = Ending {
            facts: Arc::new(ending.facts.cut(SHORT)),
            reference: ending.reference.clone(),
            ..*ending
        };
        let heard = ending.heard.then(|| Arc::new(reply.clone()));
        let start = heard.as_ref().map(|reply| Arc::new(reply.start()));
        for (number, recipient) in accepted.unwrap_or_default().iter().enumerate() {
            let (ending, heard) = match number < WHOLE {
                true => (ending, heard.clone()),
                false => (&short, start.clone()),
            };
            let reference = ending.reference.clone();
            self.record(Some(recipient), outcome.clone(), heard, reference, Some(ending), now);
        }
        self.transaction = None;
        match &**outcome {
            Outcome::Accepted => self.counts = Counts::default(),
            Outcome::Refused(_) => self.counts.end_message(),
        }
    }
}
