//! What DNS lists say about a client that no list here decides about.

use super::approved::is_approved;
use super::row::{Case, Passed, RcptRow};
use crate::dns::unasked;
use crate::policy::facts::{History, Known, Stop};
use crate::smtp::refusal::Stage;

pub(super) const ROW: RcptRow = RcptRow { stage: Stage::Reputation, check };

fn check(case: &Case<'_>, known: &Known, _: &mut dyn History) -> Result<Passed, Stop> {
    let Case { policy, facts, .. } = case;
    if !policy.reputation.is_on() {
        return Ok(Passed::with("no zone is configured"));
    }
    if facts.connection.approved.is_some() {
        return Ok(Passed::with("not asked: the client is approved"));
    }
    if let Some(why) = unasked(facts.client, policy.ask_private) {
        return Ok(Passed::with(format!("not asked: {why}")));
    }
    if is_approved(case, known)? {
        return Ok(Passed::with("not asked: the sender is approved"));
    }
    let verdict = known.reputation()?;
    match policy.reputation.refusal(verdict, facts.client, &policy.source) {
        Some(refusal) => Err(refusal.into()),
        None => Ok(Passed::with(verdict.note())),
    }
}
