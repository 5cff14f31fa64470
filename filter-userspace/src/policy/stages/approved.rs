//! Approved senders, which several stages exempt.

use crate::dns::unasked;
use crate::policy::facts::{Known, Stop};
use crate::policy::senders::SenderClass;
use crate::spf::Outcome;

use super::row::Case;

/// Whether the sender is approved, which excuses a bad reputation.
pub(super) fn is_approved(case: &Case<'_>, known: &Known) -> Result<bool, Stop> {
    let Case { policy, facts, .. } = case;
    let found = facts.sender.mailbox().and_then(|mailbox| policy.senders.find(mailbox));
    if found.is_none_or(|found| found.class != SenderClass::Approved) {
        return Ok(false);
    }
    if !policy.approve_requires_spf_pass {
        return Ok(true);
    }
    if unasked(facts.client, policy.ask_private).is_some() {
        return Ok(false);
    }
    Ok(known.spf()?.evaluation.outcome == Outcome::Pass)
}
