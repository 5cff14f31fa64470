//! The walk over the stages in order: the first that refuses decides.
//!
//! A session calls [`mail`] and [`rcpt`]; [`findings`] walks the same rows to the end and
//! reports what each found. A stage that needs an answer of the network stops with
//! [`Stop::Needs`]: the caller gets the answer and calls again. That repeats the stages before
//! it, which cost little and change nothing.

use super::facts::{Facts, History, Known, Need, Stop};
use super::relay::Direction;
use super::rules::Policy;
use super::stages::{Case, INBOUND, MAIL, OUTGOING, Passed, RcptRow, relay};
use crate::smtp::refusal::{Refusal, Stage};
use crate::smtp::session::Permit;

const fn rcpt_rows(direction: Direction) -> &'static [RcptRow] {
    match direction {
        Direction::Inbound => INBOUND,
        Direction::Outgoing => OUTGOING,
    }
}

/// What a stage found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The stage.
    pub stage: Stage,
    /// Its refusal, if it refuses.
    pub refusal: Option<Refusal>,
    /// Its finding, for people.
    pub note: String,
    /// What it must learn before it can decide.
    pub needs: Option<Need>,
}

impl Finding {
    fn of(stage: Stage, outcome: Result<Passed, Stop>) -> Self {
        let (refusal, note, needs) = match outcome {
            Ok(Passed { note, .. }) => (None, note, None),
            Err(Stop::Refused(refusal)) => {
                let note = refusal.rule.as_ref().map_or_else(String::new, ToString::to_string);
                (Some(refusal), note, None)
            }
            Err(Stop::Needs(need)) => (None, "not asked".to_owned(), Some(need)),
        };
        Self { stage, refusal, note, needs }
    }
}

/// Whether a sender may begin a message.
///
/// # Errors
///
/// The first stage's refusal.
pub fn mail(policy: &Policy, facts: &Facts) -> Result<(), Refusal> {
    MAIL.iter().try_for_each(|row| (row.check)(policy, facts).map(|_| ()))
}

/// Whether a recipient may have a message, and where it goes.
///
/// # Errors
///
/// The first stage's refusal, or what it must know first.
pub fn rcpt(case: &Case<'_>, known: &Known, history: &mut dyn History) -> Result<Permit, Stop> {
    let mut headers = Vec::new();
    let mut granted = None;
    for row in rcpt_rows(case.facts.direction) {
        let Passed { header, route, .. } = (row.check)(case, known, history)?;
        headers.extend(header);
        granted = route.map(|route| (row.stage, route)).or(granted);
    }
    let (stage, (backend, rule)) = granted.ok_or_else(|| relay::denied(case.recipient))?;
    Ok(Permit::new(backend, headers, (stage, rule)))
}

/// The finding of every stage, in order, whatever the stages before it found.
pub fn findings(case: &Case<'_>, known: &Known, history: &mut dyn History) -> Vec<Finding> {
    let mail = MAIL.iter().map(|row| {
        Finding::of(row.stage, (row.check)(case.policy, case.facts).map_err(Stop::from))
    });
    let mut findings: Vec<_> = mail.collect();
    for row in rcpt_rows(case.facts.direction) {
        findings.push(Finding::of(row.stage, (row.check)(case, known, history)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::domains::{DomainPolicy, RecipientSource};
    use super::super::facts::{Connection, NoHistory};
    use super::*;
    use crate::smtp::address::{Domain, ForwardPath, Mailbox, ReversePath};
    use crate::smtp::refusal::Reason;

    #[test]
    fn no_recipient_routes_through_the_mail_system() {
        let mut policy = Policy::default();
        let ours = DomainPolicy {
            backend: "b".into(),
            recipients: RecipientSource::Backend,
            subaddress: None,
            spf: None,
            line: 1,
        };
        policy.domains.add(&Domain::parse("example.org").unwrap(), false, ours);
        let facts = Facts {
            client: [192, 0, 2, 1].into(),
            helo: String::new(),
            tls: None,
            connection: Connection::default(),
            sender: ReversePath::Null,
            size: None,
            direction: Direction::Inbound,
        };
        let refused = |recipient: &str| {
            let path = ForwardPath::Mailbox(Mailbox::parse(recipient).unwrap());
            let case = Case { policy: &policy, facts: &facts, recipient: &path };
            match rcpt(&case, &Known::default(), &mut NoHistory) {
                Err(Stop::Refused(refusal)) => Some(refusal.reason),
                Err(Stop::Needs(need)) => panic!("{need:?} is asked for"),
                Ok(permit) => {
                    let (stage, rule) = permit.granted_by();
                    assert_eq!((*stage, rule.line), (Stage::Relay, 1));
                    assert_eq!(&**permit.backend(), "b");
                    None
                }
            }
        };
        assert_eq!(refused("bob@example.org"), None);
        assert_eq!(refused("bob+x=y@Example.ORG"), None);
        for recipient in [
            "bob%elsewhere.example@example.org",
            "elsewhere.example!bob@example.org",
            "\"bob@elsewhere.example\"@example.org",
            "\"bob\\@elsewhere.example\"@example.org",
            "bob@elsewhere.example",
            "bob@[192.0.2.2]",
        ] {
            assert_eq!(refused(recipient), Some(Reason::RelayDenied), "{recipient}");
        }
    }
}
