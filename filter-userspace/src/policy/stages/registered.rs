//! Whether the sender's domain is the customer's.

use super::row::{Case, Passed, RcptRow};
use crate::policy::facts::{History, Known, Stop};
use crate::smtp::refusal::{Reason, Refusal, Stage};

pub(super) const ROW: RcptRow = RcptRow { stage: Stage::Sender, check };

fn check(case: &Case<'_>, _: &Known, _: &mut dyn History) -> Result<Passed, Stop> {
    let Case { policy, facts, .. } = case;
    let Some(mailbox) = facts.sender.mailbox() else {
        return Ok(Passed::with("the null sender"));
    };
    let owner = mailbox.domain().and_then(|domain| policy.relay.owner_of(domain));
    let subject = format_args!("<{}>", facts.sender);
    match (owner, policy.customer(facts)) {
        (Some(owner), Some(customer)) if owner.name == customer.name => {
            Ok(Passed::with("a domain of the customer"))
        }
        (Some(owner), _) => {
            let rule = policy.rule(owner.line, &owner.name);
            Err(Refusal::by(Reason::ForgedSender, subject, Some(rule)).into())
        }
        (None, customer) => {
            let rule = customer.map(|customer| policy.rule(customer.line, &customer.name));
            Err(Refusal::by(Reason::SenderNotRegistered, subject, rule).into())
        }
    }
}
