//! Whether the sender is blocked.

use super::row::{Case, Passed, RcptRow};
use crate::policy::facts::{History, Known, Stop};
use crate::policy::senders::SenderClass;
use crate::smtp::refusal::{Reason, Refusal, Rule, Stage};

pub(super) const ROW: RcptRow = RcptRow { stage: Stage::Sender, check };

fn check(case: &Case<'_>, _: &Known, _: &mut dyn History) -> Result<Passed, Stop> {
    let Some(mailbox) = case.facts.sender.mailbox() else {
        return Ok(Passed::with("the null sender"));
    };
    let Some(found) = case.policy.senders.find(mailbox) else {
        return Ok(Passed::with("on no list"));
    };
    let rule =
        Rule { source: found.source.to_owned(), line: found.line, entry: found.pattern.to_owned() };
    match found.class {
        SenderClass::Approved => Ok(Passed::with(format!("approved: {rule}"))),
        SenderClass::Blocked => {
            Err(Refusal::by(Reason::BlockedSender, format_args!("<{mailbox}>"), Some(rule)).into())
        }
    }
}
