//! Whether the client and the recipient are within their rates. The last stage, since it
//! counts what passes.

use super::row::{Case, Passed, RcptRow};
use crate::policy::facts::{History, Known, Stop};
use crate::policy::relay::Direction;
use crate::smtp::refusal::{Reason, Refusal, Stage};

pub(super) const ROW: RcptRow = RcptRow { stage: Stage::Rate, check };

fn check(case: &Case<'_>, _: &Known, history: &mut dyn History) -> Result<Passed, Stop> {
    let Case { policy, facts, recipient } = case;
    // Inbound mail is counted by the client's address alone, whoever the client is.
    let customer = match facts.direction {
        Direction::Inbound => None,
        Direction::Outgoing => policy.customer(facts).map(|customer| &customer.name),
    };
    if history.take_rate(facts.client, customer, recipient) {
        Ok(Passed::with("within the limits"))
    } else {
        Err(Refusal::new(Reason::RateLimit, facts.client).into())
    }
}
