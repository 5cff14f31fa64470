//! Whether a customer's host is suspended from sending.

use super::row::{Case, Passed, RcptRow};
use crate::policy::facts::{History, Known, Stop};
use crate::smtp::refusal::{Reason, Refusal, Stage};

pub(super) const ROW: RcptRow = RcptRow { stage: Stage::Relay, check };

fn check(case: &Case<'_>, _: &Known, history: &mut dyn History) -> Result<Passed, Stop> {
    let Case { policy, facts, .. } = case;
    let customer = policy.customer(facts);
    if customer.is_some_and(|one| history.is_suspended(facts.client, &one.name)) {
        return Err(Refusal::new(Reason::RelaySuspended, facts.client).into());
    }
    Ok(Passed::with("the host is not suspended"))
}
