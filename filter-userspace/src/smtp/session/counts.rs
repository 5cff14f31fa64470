//! Counts of what leads to no mail in a session, and when that is too much.
//!
//! An accepted message resets all counts: a client that delivers mail may name recipients that do
//! not exist, and make errors. What follows from a refusal of ours, such as the rest of a group of
//! commands (RFC 2920), is not an error of the client.

use super::transaction::Transaction;
use crate::smtp::address::ReversePath;
use crate::smtp::refusal::{Reason, Refusal, Stage};

/// The maximum number of recipients that are permanently refused or aborted between two messages:
/// no real sender has so many.
pub(super) const REFUSED: u32 = 1000;

/// The maximum including temporary refusals, and while other recipients of the message are
/// accepted: ending the session would lose those too, and the next attempt would go the same way
/// (RFC 5321 section 4.5.3.1.10).
pub(super) const REFUSED_AT_ALL: u32 = 100_000;

/// The maximum number of relay attempts, unless more recipients are accepted.
const RELAYED: u32 = 20;

/// The maximum number of recipients that are refused because of the client itself.
const UNWELCOME: u32 = 100;

/// The number of commands that may follow from a refused recipient: DATA, or chunks.
const FOLLOWING: u32 = 100;

/// What led to no mail since the last message was accepted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Errors.
    errors: u32,
    /// Commands that carry no mail.
    idle: u32,
    /// Recipients that were refused, or whose transaction was aborted.
    refused: u32,
    /// Recipients that do not exist.
    invalid: u32,
    /// Relay attempts.
    relayed: u32,
    /// Recipients that were temporarily refused.
    deferred: u32,
    /// Refused recipients that may exist.
    possible: u32,
    /// Recipients that were refused because of the client itself.
    unwelcome: u32,
    /// Commands that may still be out of order because of a refusal, and are not errors.
    excused: u32,
}

impl Counts {
    /// Counts an error, and returns whether it was one too many: a long list of recipients may
    /// contain some invalid addresses.
    pub(super) fn error(&mut self, most: u32, accepted: usize) -> bool {
        self.errors = self.errors.saturating_add(1);
        self.errors > most && self.errors > u32::try_from(accepted).unwrap_or(u32::MAX)
    }

    /// Counts a command without mail, and returns whether it was one too many.
    pub(super) const fn idle(&mut self, most: u32) -> bool {
        self.idle = self.idle.saturating_add(1);
        self.idle > most
    }

    /// A recipient was named, so the commands before were not idle.
    pub(super) const fn busy(&mut self) {
        self.idle = 0;
    }

    /// MAIL was refused: so are the recipients and the message that follow it.
    pub(super) fn excuse_mail(&mut self, recipients: usize) {
        let recipients = u32::try_from(recipients).unwrap_or(u32::MAX);
        self.excused = recipients.saturating_add(FOLLOWING);
    }

    /// A recipient or a message was refused: so is what follows.
    pub(super) fn excuse(&mut self) {
        self.excused = self.excused.max(FOLLOWING);
    }

    /// Whether a command that is out of order follows from a refusal.
    pub(super) const fn is_excused(&mut self) -> bool {
        let excused = self.excused > 0;
        self.excused = self.excused.saturating_sub(1);
        excused
    }

    /// The next transaction begins.
    pub(super) const fn begin(&mut self) {
        self.excused = 0;
    }

    /// Recipients were accepted, and no message followed.
    pub(super) fn abort(&mut self, recipients: usize) {
        let recipients = u32::try_from(recipients).unwrap_or(u32::MAX);
        self.refused = self.refused.saturating_add(recipients);
    }

    /// A message has come whole and was refused: what was refused beside it is its matter.
    pub(super) fn end_message(&mut self) {
        self.refused = self.deferred;
        self.busy();
        self.excuse();
    }

    /// Whether nothing more is to be refused, of a message with so many accepted recipients.
    pub(super) const fn is_spent(&self, accepted: usize) -> bool {
        let for_good = self.refused.saturating_sub(self.deferred);
        self.refused > REFUSED_AT_ALL || (accepted == 0 && for_good > REFUSED)
    }

    /// Counts a recipient that was refused; why the session ends, where that is enough.
    pub(super) fn refuse(
        &mut self,
        refusal: &Refusal,
        transaction: Option<&mut Transaction>,
        invalid_recipients: u32,
    ) -> Option<Reason> {
        self.refused = self.refused.saturating_add(1);
        self.excuse();
        let mut accepted = 0;
        let (mut bounces, mut is_first) = (false, true);
        if let Some(open) = transaction {
            accepted = u32::try_from(open.accepted.len()).unwrap_or(u32::MAX);
            bounces = open.sender == ReversePath::Null;
            is_first = open.invalid == 0;
            open.invalid += u32::from(refusal.is_unknown_recipient());
        }
        self.deferred += u32::from(refusal.is_deferral());
        if self.is_spent(usize::try_from(accepted).unwrap_or(usize::MAX)) {
            return Some(Reason::TooManyRefusals);
        }
        self.possible += u32::from(refusal.may_exist());
        let others = accepted.saturating_add(self.possible);
        if refusal.is_unknown_recipient() {
            // A bounce has one recipient, and the host that returns it did not choose that.
            self.invalid += u32::from(!(bounces && is_first));
            let mostly = self.invalid > invalid_recipients && self.invalid > others;
            let reason = if bounces { Reason::Backscatter } else { Reason::TooManyInvalid };
            return mostly.then_some(reason);
        }
        match (refusal.reason, refusal.reason.stage()) {
            (Reason::RelayDenied | Reason::NotACustomer, _) => {
                self.relayed += 1;
                let mostly = self.relayed > RELAYED && self.relayed > others;
                mostly.then_some(Reason::TooManyRefusals)
            }
            // A client that is temporarily refused may be an ordinary sender.
            (reason, Stage::Connection | Stage::Reputation) if reason.code() >= 500 => {
                self.unwelcome += 1;
                (self.unwelcome > UNWELCOME).then_some(Reason::TooManyRefusals)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(counts: &mut Counts, reason: Reason, times: u32) -> Option<Reason> {
        let refusal = Refusal::new(reason, "");
        (0..times).find_map(|_| counts.refuse(&refusal, None, 20))
    }

    /// A long list of recipients for a mail system that is down, or that greylists, does not end
    /// the session: the next attempt would go the same way.
    #[test]
    fn recipients_that_are_to_come_again_end_no_session() {
        let mut counts = Counts::default();
        assert_eq!(refuse(&mut counts, Reason::BackendDown, 5000), None);
        assert_eq!(refuse(&mut counts, Reason::BlockedSender, REFUSED), None);
        let ended = refuse(&mut counts, Reason::BlockedSender, 1);
        assert_eq!(ended, Some(Reason::TooManyRefusals));
        let mut counts = Counts::default();
        let ended = refuse(&mut counts, Reason::BackendDown, REFUSED_AT_ALL + 1);
        assert_eq!(ended, Some(Reason::TooManyRefusals));
    }

    #[test]
    fn what_was_refused_beside_a_message_ends_with_it() {
        let mut counts = Counts::default();
        assert_eq!(refuse(&mut counts, Reason::BlockedSender, REFUSED), None);
        counts.end_message();
        assert_eq!(refuse(&mut counts, Reason::BlockedSender, REFUSED), None);
        // The counts that guesses are compared with are kept.
        let mut counts = Counts::default();
        assert_eq!(refuse(&mut counts, Reason::BackendDown, 50), None);
        counts.end_message();
        assert_eq!(refuse(&mut counts, Reason::UnknownRecipient, 50), None);
        let ended = refuse(&mut counts, Reason::UnknownRecipient, 1);
        assert_eq!(ended, Some(Reason::TooManyInvalid));
    }
}
