//! What counts against a client, and in its favour: one function for everybody who counts.
//!
//! It is fair to senders: only what a client chose to do is an offence. Our own faults (a rate, a
//! backend that is down), a refusal of the sender or of the message, too many errors in a session
//! and mail without an invalid recipient are not, and bounces to addresses that do not exist (the
//! null sender) never count against the host that returns them.

use crate::smtp::address::ReversePath;
use crate::smtp::meaning::Meaning;
use crate::smtp::refusal::{Reason, Stage};
use crate::smtp::reply::Enhanced;
use crate::smtp::session::{Attempt, Outcome};

/// An offence of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offence {
    /// It was refused by DNS lists.
    Reputation,
    /// It named recipients that do not exist, and hardly any that do.
    Dictionary,
    /// It named recipients of domains that are not served here, or tried to send out without being
    /// a customer's host.
    Relay,
    /// It sent data before the greeting.
    EarlyTalker,
    /// It broke the protocol as no mail system does.
    Abuse,
    /// It opened more connections than it may have.
    Flood,
}

impl Offence {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Reputation,
        Self::Dictionary,
        Self::Relay,
        Self::EarlyTalker,
        Self::Abuse,
        Self::Flood,
    ];

    /// Its name in the configuration and in lists of blocks.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reputation => "reputation",
            Self::Dictionary => "dictionary",
            Self::Relay => "relay",
            Self::EarlyTalker => "early_talker",
            Self::Abuse => "abuse",
            Self::Flood => "flood",
        }
    }

    /// Whether each recipient counts; otherwise a transaction counts once.
    #[must_use]
    pub const fn is_of_recipients(self) -> bool {
        matches!(self, Self::Dictionary | Self::Relay)
    }

    /// Whether a client is blocked for it although it recently delivered mail. Offences that depend
    /// on who sends through a client, rather than on the client itself, are not reason enough.
    #[must_use]
    pub const fn drops_senders(self) -> bool {
        matches!(self, Self::Reputation | Self::EarlyTalker | Self::Abuse)
    }
}

/// What an attempt shows about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Nothing.
    Nothing,
    /// It named a recipient that may exist: it was temporarily refused, or its message was refused.
    Valid,
    /// The backend has a message for this recipient.
    Delivered,
    /// It named a recipient that does not exist.
    Guess,
    /// The same in a bounce, which a forged sender may have caused.
    Backscatter,
    /// It committed an offence.
    Offence(Offence),
}

impl Sign {
    /// What an attempt shows.
    #[must_use]
    pub fn of(attempt: &Attempt) -> Self {
        let Outcome::Refused(refusal) = &*attempt.outcome else { return Self::Delivered };
        let bounces = attempt.sender == Some(ReversePath::Null);
        if refusal.is_unknown_recipient() {
            return if bounces { Self::Backscatter } else { Self::Guess };
        }
        if refusal.may_exist() {
            return Self::Valid;
        }
        match refusal.reason {
            Reason::NotACustomer => Self::Offence(Offence::Relay),
            Reason::RelayDenied if !bounces => Self::Offence(Offence::Relay),
            Reason::EarlyTalker => Self::Offence(Offence::EarlyTalker),
            Reason::TooManyFromAddress => Self::Offence(Offence::Flood),
            // Errors within a message may be its author's doing.
            Reason::Pipelining | Reason::BareNewline => Self::Offence(Offence::Abuse),
            reason if reason.stage() == Stage::Reputation => Self::Offence(Offence::Reputation),
            _ if attempt.message.is_some() => Self::Valid,
            _ => Self::Nothing,
        }
    }
}

impl Sign {
    /// Whether a transaction counts once for it, however many recipients it has: one message to
    /// many is one offence, but each recipient that is named counts.
    #[must_use]
    pub const fn counts_once(self) -> bool {
        matches!(self, Self::Offence(offence) if !offence.is_of_recipients())
    }
}

/// Whether an attempt ended with the backend's statement that there is no such recipient: only a
/// reply to RCPT counts, and only an unambiguous one.
#[must_use]
pub fn is_word_on_recipient(attempt: &Attempt) -> bool {
    let Outcome::Refused(refusal) = &*attempt.outcome else { return false };
    refusal.meaning == Meaning::UnknownRecipient
        && attempt.message.is_none()
        && refusal
            .passed
            .as_ref()
            .is_some_and(|reply| reply.code == 550 && reply.enhanced == Some(Enhanced(5, 1, 1)))
}

/// What an attempt shows about the customer's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostSign {
    /// Nothing.
    Nothing,
    /// Its message is to come again, or was refused: the recipient may be valid.
    Deferred,
    /// It named a recipient.
    Recipient {
        /// Whether the recipient may exist.
        valid: bool,
    },
}

impl HostSign {
    /// What an attempt shows.
    #[must_use]
    pub fn of(attempt: &Attempt) -> Self {
        let bounces = attempt.sender == Some(ReversePath::Null);
        let valid = match &*attempt.outcome {
            Outcome::Accepted => true,
            Outcome::Refused(refusal) => match refusal.reason {
                // The host does not choose the recipient of a bounce.
                _ if bounces => return Self::Nothing,
                Reason::NoSuchDomain | Reason::NullMx => false,
                // Forged senders are counted by their number of domains.
                Reason::ForgedSender | Reason::SenderNotRegistered => true,
                _ if refusal.is_unknown_recipient() => false,
                _ if attempt.message.is_some()
                    || refusal.is_deferral()
                    || refusal.reason == Reason::DomainUnknownNow =>
                {
                    return Self::Deferred;
                }
                _ => return Self::Nothing,
            },
        };
        if attempt.recipient.is_some() { Self::Recipient { valid } } else { Self::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::address::Mailbox;
    use crate::smtp::refusal::Refusal;
    use crate::smtp::reply::Reply;

    fn sign(sender: ReversePath, outcome: Outcome) -> Sign {
        Sign::of(&Attempt {
            reference: String::new(),
            started_ms: 0,
            ended_ms: 0,
            sender: Some(sender),
            recipient: None,
            outcome: outcome.into(),
            reply: None,
            size: 0,
            message: None,
            backend: None,
        })
    }

    fn refused(reason: Reason) -> Sign {
        let sender = ReversePath::Mailbox(Mailbox::parse("a@b.example").unwrap());
        sign(sender, Outcome::Refused(Refusal::new(reason, "")))
    }

    #[test]
    fn only_what_a_client_chose_to_do_is_an_offence() {
        let offences: Vec<_> = Reason::ALL
            .iter()
            .filter(|reason| matches!(refused(**reason), Sign::Offence(_)))
            .map(|reason| reason.name())
            .collect();
        assert_eq!(
            offences,
            [
                "early_talker",
                "too_many_from_address",
                "pipelining",
                "bare_newline",
                "relay_denied",
                "not_a_customer",
                "standard_reputation",
                "dynamic_reputation",
            ]
        );
        let guesses = Reason::ALL.iter().filter(|reason| refused(**reason) == Sign::Guess);
        let guesses: Vec<_> = guesses.map(|reason| reason.name()).collect();
        assert_eq!(guesses, ["unknown_recipient", "too_many_invalid", "backscatter"]);
    }

    #[test]
    fn bounces_are_never_guesses() {
        let unknown = || Refusal::new(Reason::UnknownRecipient, "");
        assert_eq!(sign(ReversePath::Null, Outcome::Refused(unknown())), Sign::Backscatter);
        let relay = Refusal::new(Reason::RelayDenied, "");
        assert_eq!(sign(ReversePath::Null, Outcome::Refused(relay)), Sign::Nothing);
        assert_eq!(sign(ReversePath::Null, Outcome::Accepted), Sign::Delivered);
    }

    #[test]
    fn a_backend_that_refuses_the_sender_says_nothing_of_recipients() {
        let sender = || ReversePath::Mailbox(Mailbox::parse("a@b.example").unwrap());
        let of = |code, text: &str| {
            let reply = Reply::new(550, Some(code), text);
            sign(sender(), Outcome::Refused(Refusal::of_recipient(reply)))
        };
        assert_eq!(of(Enhanced(5, 1, 8), "Sender address rejected"), Sign::Nothing);
        assert_eq!(of(Enhanced(5, 7, 1), "no"), Sign::Nothing);
        assert_eq!(of(Enhanced(5, 1, 1), "no such user"), Sign::Guess);
        // MAIL was refused: whatever its code is.
        let reply = Reply::new(550, Some(Enhanced(5, 1, 1)), "no such user");
        let refusal = Outcome::Refused(Refusal::passed(reply));
        assert_eq!(sign(sender(), refusal), Sign::Nothing);
    }
}
