//! Whether the recipient's domain accepts mail.

use super::row::{Case, Passed, RcptRow};
use crate::policy::facts::{History, Known, Stop};
use crate::policy::relay::Deliverability;
use crate::smtp::refusal::{Reason, Refusal, Rule, Stage};

pub(super) const ROW: RcptRow = RcptRow { stage: Stage::Recipient, check };

fn check(case: &Case<'_>, known: &Known, _: &mut dyn History) -> Result<Passed, Stop> {
    let Case { policy, recipient, .. } = case;
    let Some(mailbox) = recipient.mailbox() else {
        return Ok(Passed::with("the backend's own"));
    };
    if mailbox.domain().is_none() {
        return Ok(Passed::with("an address, which needs no look-up"));
    }
    // Its domain need not be in the DNS that is queried here.
    if policy.domain_of(recipient).is_some() {
        return Ok(Passed::with("a domain that is served here"));
    }
    let subject = format_args!("<{recipient}>");
    let refused = |reason| Err(Refusal::new(reason, subject).into());
    match known.deliverability(recipient)? {
        Deliverability::Deliverable => Ok(Passed::with("the domain resolves")),
        Deliverability::NoDomain => refused(Reason::NoSuchDomain),
        Deliverability::NullMx => refused(Reason::NullMx),
        Deliverability::Unknown(why) => {
            let rule = Rule { source: "DNS".to_owned(), line: 0, entry: why.clone() };
            Err(Refusal::by(Reason::DomainUnknownNow, subject, Some(rule)).into())
        }
    }
}
