//! What the packet filter's lists say about the client.

use super::approved::is_approved;
use super::row::{Case, Passed, RcptRow};
use crate::policy::facts::{History, Known, Stop};
use crate::smtp::refusal::{Reason, Refusal, Stage};

pub(super) const ROW: RcptRow = RcptRow { stage: Stage::Connection, check };

fn check(case: &Case<'_>, known: &Known, _: &mut dyn History) -> Result<Passed, Stop> {
    let facts = case.facts;
    if let Some(rule) = &facts.connection.approved {
        return Ok(Passed::with(format!("approved: {rule}")));
    }
    let Some((reason, rule)) = &facts.connection.refused else {
        return Ok(Passed::with("on no list"));
    };
    // An approved sender excuses a bad reputation, but not what the postmaster has blocked.
    let excusable = matches!(reason, Reason::KnownSpamSource | Reason::TemporaryBlock);
    if excusable && is_approved(case, known)? {
        let note = format!("{}, excused by the approved sender", reason.name());
        return Ok(Passed::with(note));
    }
    Err(Refusal::by(*reason, facts.client, rule.clone()).into())
}
