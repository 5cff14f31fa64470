//! Whether the client is a host of a customer, who may send out.

use super::row::{Case, Passed, RcptRow};
use crate::policy::facts::{History, Known, Stop};
use crate::smtp::refusal::{Reason, Refusal, Stage};

pub(super) const ROW: RcptRow = RcptRow { stage: Stage::Relay, check };

fn check(case: &Case<'_>, _: &Known, _: &mut dyn History) -> Result<Passed, Stop> {
    let Case { policy, facts, .. } = case;
    let Some(customer) = policy.customer(facts) else {
        return Err(Refusal::new(Reason::NotACustomer, facts.client).into());
    };
    let rule = policy.rule(customer.line, &customer.name);
    let passed = Passed::with(rule.to_string());
    Ok(Passed { route: policy.relay.backend.clone().map(|backend| (backend, rule)), ..passed })
}
