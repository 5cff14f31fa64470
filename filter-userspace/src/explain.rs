//! `explain`: the whole way of a message that nobody sent, stage by stage.
//!
//! Comes in: an envelope in words, what decides (from files, or the daemon's), and
//! what the network says. Goes out: an [`Explanation`]. The stages are those of sessions, and the reply
//! is the one that a session would give.

use std::net::IpAddr;

use crate::control::protocol::{Answer, ExplainedEnvelope, ExplainedStage, Explanation};
use crate::io::smtp::Standing;
use crate::policy::pipeline::{self, Facts, Finding, Memory, Policy};
use crate::policy::reputation::Verdict;
use crate::smtp::address::{ForwardPath, Mailbox, ReversePath};
use crate::smtp::refusal::Refusal;
use crate::smtp::session::Tls;

/// What a reference is in a reply that nobody gets.
const REFERENCE: &str = "none";

/// What decides about an envelope, and what is known of it.
pub struct Known<'a> {
    /// What becomes of the client's SYN.
    pub syn: &'a Answer,
    /// What the lists say of the client.
    pub standing: &'a Standing,
    /// The policy; without one the SYN is all.
    pub policy: Option<&'a Policy>,
    /// What DNS lists say of the client.
    pub reputation: Option<&'a Verdict>,
}

/// Walks an envelope through every stage.
///
/// # Errors
///
/// In words, when sender or recipient is no address.
pub fn explain(
    envelope: &ExplainedEnvelope,
    known: &Known<'_>,
    memory: &mut dyn Memory,
) -> Result<Explanation, String> {
    let Known { syn, standing, policy, reputation } = *known;
    let sender = sender(&envelope.from)?;
    let recipient = recipient(&envelope.rcpt)?;
    let tls = tls(envelope);
    let facts = Facts {
        client: envelope.ip.to_canonical(),
        tls: tls.as_ref(),
        connection: &standing.connection,
        sender: &sender,
        size: envelope.size,
        reputation,
    };
    let mut stages = vec![syn_stage(syn)];
    match policy {
        Some(policy) => {
            let findings = pipeline::explain(policy, &facts, &recipient, memory);
            stages.extend(findings.into_iter().map(stage));
        }
        None => stages.push(ExplainedStage {
            stage: "smtp".to_owned(),
            passes: true,
            reason: None,
            reply: None,
            note: "the configuration has no [listen]: the mail system itself answers".to_owned(),
        }),
    }
    let decided_by = stages.iter().find(|stage| !stage.passes).map(|stage| stage.stage.clone());
    Ok(Explanation {
        envelope: envelope.clone(),
        country: standing.country.clone(),
        decided_by,
        stages,
    })
}

fn sender(text: &str) -> Result<ReversePath, String> {
    match unbracketed(text) {
        "" => Ok(ReversePath::Null),
        address => Mailbox::parse(address)
            .map(ReversePath::Mailbox)
            .ok_or_else(|| format!("the sender is no address: {}", address.escape_debug())),
    }
}

fn recipient(text: &str) -> Result<ForwardPath, String> {
    match unbracketed(text) {
        name if name.eq_ignore_ascii_case("postmaster") => Ok(ForwardPath::Postmaster),
        address => Mailbox::parse(address)
            .map(ForwardPath::Mailbox)
            .ok_or_else(|| format!("the recipient is no address: {}", address.escape_debug())),
    }
}

fn unbracketed(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text)
}

fn tls(envelope: &ExplainedEnvelope) -> Option<Tls> {
    let version = envelope.tls?;
    let certificate = envelope.certificate.then(|| "a valid certificate".to_owned());
    Some(Tls { version, text: format!("TLSv1.{}", version % 10), certificate })
}

fn syn_stage(syn: &Answer) -> ExplainedStage {
    let place = syn.source.clone().map(|source| match syn.prefix {
        Some(prefix) => format!("{source} ({prefix})"),
        None => source,
    });
    // As the kernel calls it.
    let class = if syn.class == "none" { "unlisted" } else { &syn.class };
    let note = format!("{}, {class}", syn.action);
    ExplainedStage {
        stage: "syn".to_owned(),
        passes: syn.action != "drop",
        reason: (syn.action == "drop").then(|| class.to_owned()),
        reply: None,
        note: place.map_or_else(|| note.clone(), |place| format!("{note}: {place}")),
    }
}

fn stage(finding: Finding) -> ExplainedStage {
    let reply = |refusal: &Refusal| refusal.reply(REFERENCE).to_string().trim_end().to_owned();
    ExplainedStage {
        stage: finding.stage.name().to_owned(),
        passes: finding.refusal.is_none(),
        reason: finding.refusal.as_ref().map(|refusal| refusal.reason.name().to_owned()),
        reply: finding.refusal.as_ref().map(reply),
        note: finding.note,
    }
}

/// What is remembered where no daemon runs: nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoMemory;

impl Memory for NoMemory {
    fn is_known_invalid(&self, _: &ForwardPath) -> bool {
        false
    }

    fn take_rate(&mut self, _: IpAddr, _: &ForwardPath) -> bool {
        true
    }
}
