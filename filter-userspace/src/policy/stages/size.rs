//! Whether the declared size is within the limit.

use super::row::{MailRow, Passed};
use crate::policy::facts::Facts;
use crate::policy::rules::Policy;
use crate::smtp::refusal::{Reason, Refusal, Stage};

pub(super) const ROW: MailRow = MailRow { stage: Stage::Size, check };

fn check(policy: &Policy, facts: &Facts) -> Result<Passed, Refusal> {
    let limit = policy.message_size;
    match facts.size {
        Some(size) if size > limit => Err(Refusal::new(Reason::DeclaredSize, size)),
        Some(size) => Ok(Passed::with(format!("{size} bytes of at most {limit}"))),
        None => Ok(Passed::with(format!("not declared; at most {limit} bytes"))),
    }
}
