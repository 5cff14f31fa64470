//! Whether a stranger uses a customer's domain as its sender.

use super::row::{Case, Passed, RcptRow};
use crate::policy::facts::{History, Known, Stop};
use crate::policy::relay::OwnDomain;
use crate::smtp::refusal::{Reason, Refusal, Stage};

pub(super) const ROW: RcptRow = RcptRow { stage: Stage::Sender, check };

fn check(case: &Case<'_>, _: &Known, _: &mut dyn History) -> Result<Passed, Stop> {
    let Case { policy, facts, .. } = case;
    let Some(owner) = policy.forged(facts) else { return Ok(Passed::with("not forged")) };
    let rule = policy.rule(owner.line, &owner.name);
    match policy.relay.own_domain {
        OwnDomain::Reject => {
            let subject = format_args!("<{}>", facts.sender);
            Err(Refusal::by(Reason::ForgedSender, subject, Some(rule)).into())
        }
        OwnDomain::Tag => {
            let (name, client) = (&owner.name, facts.client);
            let header = format!(
                "X-MXDP-Forged-Sender: {client} is no host of {name}, whose domain this is\r\n"
            );
            let passed = Passed::with(format!("forged, and tagged: {rule}"));
            Ok(Passed { header: Some(header), ..passed })
        }
        OwnDomain::Accept => Ok(Passed::with(format!("forged, and accepted: {rule}"))),
    }
}
