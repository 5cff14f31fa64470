//! What becomes of an address, and of a message: what lists, temporary blocks and the kernel
//! say, and what the stages would.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;
use filter_common::Disposition;
use tokio::runtime::Handle;

use super::active::Active;
use super::blocks::Blocks;
use super::failures::{bad_request, refused};
use super::runtime_lists::RuntimeLists;
use crate::control::protocol::{Failure, KernelAnswer, LOOKUP_LIMIT, LiveAnswer};
use crate::control::server::Incoming;
use crate::generation::answer::{self, Expected};
use crate::io::kernel::Filter;
use crate::io::smtp::{Edge, Peek};
use crate::io::timeline::Timeline;
use crate::lists::Answer;
use crate::policy::explain::{
    Deciding, Envelope, ExplainedEnvelope, Explanation, add_behind, explain,
};
use crate::policy::facts::{Known, NoHistory, Standing};

/// What the lists and the managed entries say of an address.
pub(super) fn of_lists(
    ip: IpAddr,
    active: &Active,
    runtime_lists: &RuntimeLists,
) -> (Answer, Expected) {
    let files = active.lists.set.classify(ip);
    let runtime = runtime_lists.entries().classify(ip);
    let enforcement = |class| active.config.enforcement.of(class);
    answer::answer(ip, &[&runtime, &files], enforcement)
}

/// Everything that is asked about an address.
pub(super) struct Lookup<'a> {
    /// The active rule set.
    pub(super) active: &'a Active,
    /// The managed entries.
    pub(super) runtime_lists: &'a mut RuntimeLists,
    /// The kernel.
    pub(super) filter: &'a mut Filter,
    /// The time by which entries end.
    pub(super) timeline: &'a Timeline,
}

impl Lookup<'_> {
    /// Looks addresses up.
    pub(super) fn all(&mut self, addresses: &[IpAddr]) -> Result<Vec<LiveAnswer>, Failure> {
        if addresses.len() > LOOKUP_LIMIT {
            return Err(bad_request(&format!("more than {LOOKUP_LIMIT} addresses")));
        }
        let mut answers = Vec::with_capacity(addresses.len());
        for ip in addresses {
            answers.push(self.one(*ip).map_err(|error| refused(&error))?);
        }
        Ok(answers)
    }

    /// Looks an address up.
    fn one(&mut self, ip: IpAddr) -> Result<LiveAnswer> {
        let mut found = self.ask(ip)?;
        if !found.agree {
            // An entry may have ended in the kernel, which needs nobody for that, and here not
            // yet.
            self.runtime_lists.expire(self.filter, self.timeline);
            found = self.ask(ip)?;
        }
        if !found.agree {
            let (reason, class) = (&found.kernel.reason, &found.answer.class);
            tracing::error!(%ip, reason, class, "kernel and lists differ");
        }
        Ok(found)
    }

    /// What lists, temporary blocks and the kernel say of an address.
    fn ask(&mut self, ip: IpAddr) -> Result<LiveAnswer> {
        let (mut answer, expected) = of_lists(ip, self.active, self.runtime_lists);
        let temporary = Blocks::of(ip, self.filter)?;
        let (reason, classes) = self.filter.ask(ip, self.active.port())?;
        let agree = expected.agrees(reason, classes, temporary.is_some());
        // The lists do not decide where the kernel drops for a reason that it alone knows.
        if reason.disposition() == Disposition::Drop && answer.action != "drop" && agree {
            answer.action = "drop".to_owned();
            answer.class = reason.name().to_owned();
            answer.prefix = temporary.as_ref().map(|block| block.prefix);
            answer.source = temporary.as_ref().map(|_| "temporary block".to_owned());
            answer.note = None;
        }
        let kernel = KernelAnswer {
            reason: reason.name().to_owned(),
            action: name(reason.disposition()).to_owned(),
            listed: classes.iter().map(|class| class.name().to_owned()).collect(),
        };
        Ok(LiveAnswer { answer, temporary, kernel, agree })
    }

    /// Explains beside this thread, since name servers are queried.
    pub(super) fn explain(
        &mut self,
        envelope: &ExplainedEnvelope,
        edge: Option<Arc<Edge>>,
        tasks: &Handle,
        asked: Incoming,
    ) {
        let found = match self.one(envelope.ip) {
            Ok(found) => found,
            Err(error) => return asked.answer::<Explanation>(Err(refused(&error))),
        };
        let mut syn = found.answer;
        // The kernel has the last word, whatever it and the lists differ about.
        syn.action = if found.kernel.action == "drop" { "drop".to_owned() } else { syn.action };
        if syn.class == "none" {
            syn.class = found.kernel.reason;
        }
        let envelope = match Envelope::parse(envelope) {
            Ok(envelope) => envelope,
            Err(error) => return asked.answer::<Explanation>(Err(bad_request(&error))),
        };
        tasks.spawn(async move {
            let explained = explain_by(edge.as_deref(), &envelope, &syn).await;
            asked.answer(Ok(explained));
        });
    }
}

async fn explain_by(edge: Option<&Edge>, envelope: &Envelope, syn: &Answer) -> Explanation {
    let Some(edge) = edge else {
        let standing = &Standing::default();
        let deciding = Deciding { syn, standing, policy: None };
        return explain(envelope, &deciding, &Known::default(), &mut NoHistory).0;
    };
    let generation = edge.generation();
    let deciding = Deciding {
        syn,
        standing: &edge.standing(envelope.client()),
        policy: Some(generation.policy()),
    };
    let asker = edge.asker(&generation);
    let mut explained = asker.explain(envelope, &deciding, &mut Peek(edge)).await;
    let direction = envelope.direction();
    if let Some(behind) = generation.behind(direction, envelope.recipient()) {
        add_behind(&mut explained, envelope, &behind);
    }
    explained
}

/// What becomes of a SYN, by name.
pub(super) const fn name(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Pass => "pass",
        Disposition::Drop => "drop",
    }
}
