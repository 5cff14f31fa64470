//! Whether the TLS in use is enough for the sender and the client.

use super::row::{MailRow, Passed};
use crate::policy::facts::Facts;
use crate::policy::rules::Policy;
use crate::smtp::refusal::{Refusal, Stage};

pub(super) const ROW: MailRow = MailRow { stage: Stage::Tls, check };

fn check(policy: &Policy, facts: &Facts) -> Result<Passed, Refusal> {
    let domain = facts.sender.mailbox().and_then(|mailbox| mailbox.domain());
    policy.tls.check(facts.client, domain, facts.tls.as_ref())?;
    let note = facts.tls.as_ref().map_or("no TLS, and none is needed", |tls| &tls.text);
    Ok(Passed::with(note))
}
