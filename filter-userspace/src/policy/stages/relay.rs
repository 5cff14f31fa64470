//! Whether the recipient's domain is served here, and by which backend.

use super::row::{Case, Passed, RcptRow};
use crate::policy::facts::{History, Known, Stop};
use crate::smtp::address::ForwardPath;
use crate::smtp::refusal::{Reason, Refusal, Stage};

pub(super) const ROW: RcptRow = RcptRow { stage: Stage::Relay, check };

fn check(case: &Case<'_>, _: &Known, _: &mut dyn History) -> Result<Passed, Stop> {
    let Case { policy, recipient, .. } = case;
    let domain = policy.domain_of(recipient).ok_or_else(|| denied(recipient))?;
    // `user%elsewhere@ours`, `elsewhere!user@ours` and `"user@elsewhere"@ours` ask
    // the mail system to relay (RFC 5321 section 3.6.1), and it may trust this host
    // more than its clients.
    let route = recipient.mailbox().filter(|mailbox| mailbox.local().contains(['%', '!', '@']));
    // Unless the local part is the whole name of a mailbox.
    if route.is_some_and(|mailbox| !policy.recipients.names(mailbox)) {
        return Err(denied(recipient).into());
    }
    let backend = domain.backend.clone();
    let passed = Passed::with(format!("to {backend} ({}:{})", policy.source, domain.line));
    let rule = policy.rule(domain.line, &backend);
    Ok(Passed { route: Some((backend, rule)), ..passed })
}

/// The refusal of a recipient that no backend serves.
pub(in crate::policy) fn denied(recipient: &ForwardPath) -> Refusal {
    Refusal::new(Reason::RelayDenied, format_args!("<{recipient}>"))
}
