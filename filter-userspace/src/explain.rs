//! `explain`: the whole way of a message that nobody sent, stage by stage.
//!
//! Comes in: an envelope in words, what decides (from files, or the daemon's), and
//! what the network says. Goes out: an [`Explanation`]. The stages are those of sessions, and the reply
//! is the one that a session would give.

use std::net::IpAddr;
use std::sync::Arc;

use crate::control::protocol::{ExplainedEnvelope, ExplainedStage, Explanation};
use crate::io::smtp::Standing;
use crate::lists::Answer;
use crate::policy::evidence::Witness;
use crate::policy::pipeline::{self, Checked, Facts, Finding, Memory, Need, Policy};
use crate::policy::relay::{Direction, Place};
use crate::policy::reputation::Verdict;
use crate::smtp::address::{ForwardPath, Mailbox, ReversePath};
use crate::smtp::command;
use crate::smtp::refusal::{Reason, Refusal, Stage};
use crate::smtp::session::{Extensions, Tls};

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
    /// What DNS lists say of the client, once it is known.
    pub reputation: Option<Verdict>,
    /// What SPF says of the sender, once it is known.
    pub spf: Option<Checked>,
    /// Whether mail for the recipient's domain has a place to go, once it is known.
    pub place: Option<Place>,
}

/// An envelope that nobody sent, with addresses that are right.
pub struct Envelope {
    said: ExplainedEnvelope,
    sender: ReversePath,
    recipient: ForwardPath,
    tls: Option<Tls>,
}

impl Envelope {
    /// Reads an envelope.
    ///
    /// # Errors
    ///
    /// In words, when sender or recipient is no address.
    pub fn parse(said: &ExplainedEnvelope) -> Result<Self, String> {
        let helo = said.helo.as_deref().unwrap_or_default();
        if helo.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
            let name = helo.escape_debug();
            return Err(format!("invalid HELO name: {name}{}", url_hint(helo)));
        }
        Ok(Self {
            said: said.clone(),
            sender: sender(&said.from)?,
            recipient: recipient(&said.rcpt)?,
            tls: tls(said),
        })
    }

    /// The client's address.
    #[must_use]
    pub const fn client(&self) -> IpAddr {
        self.said.ip.to_canonical()
    }

    /// What it calls itself.
    #[must_use]
    pub fn helo(&self) -> &str {
        self.said.helo.as_deref().unwrap_or_default()
    }

    /// The recipient.
    #[must_use]
    pub const fn recipient(&self) -> &ForwardPath {
        &self.recipient
    }

    /// Which way it goes.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        if self.said.relay { Direction::Outgoing } else { Direction::Inbound }
    }

    /// The sender.
    #[must_use]
    pub const fn sender(&self) -> &ReversePath {
        &self.sender
    }
}

/// Walks an envelope through every stage, as far as what is known goes; and what is
/// to be asked for more.
pub fn explain(
    envelope: &Envelope,
    known: &Known<'_>,
    memory: &mut dyn Memory,
) -> (Explanation, Option<Need>) {
    let Envelope { said, sender, recipient, tls } = envelope;
    let facts = Facts {
        client: envelope.client(),
        tls: tls.as_ref(),
        connection: &known.standing.connection,
        sender,
        size: said.size,
        reputation: known.reputation.as_ref(),
        spf: known.spf.as_ref(),
        place: known.place.as_ref(),
        direction: envelope.direction(),
    };
    let mut stages = vec![syn_stage(known.syn)];
    let mut need = None;
    match known.policy {
        Some(policy) => {
            let findings = pipeline::explain(policy, &facts, recipient, memory);
            let is_dropped = stages.iter().any(|stage| !stage.passes);
            let refusal = findings.iter().position(|finding| finding.refusal.is_some());
            let reached = match refusal {
                _ if is_dropped => 0,
                Some(refusal) => refusal + 1,
                None => findings.len(),
            };
            need = findings[..reached].iter().find_map(|finding| finding.needs);
            let stage = |(place, finding): (usize, Finding)| {
                if place < reached { stage(finding) } else { not_reached(&finding) }
            };
            stages.extend(findings.into_iter().enumerate().map(stage));
        }
        None => stages.push(ExplainedStage {
            stage: "smtp".to_owned(),
            passes: true,
            reached: true,
            reason: None,
            reply: None,
            note: "the configuration has no [listen]: the mail system itself answers".to_owned(),
        }),
    }
    let decided_by = stages.iter().find(|stage| !stage.passes).map(|stage| stage.stage.clone());
    let explanation = Explanation {
        envelope: said.clone(),
        country: known.standing.country.clone(),
        decided_by,
        stages,
    };
    (explanation, need)
}

/// What a running daemon knows of the mail system behind.
pub struct Behind {
    /// Its name in the configuration.
    pub name: String,
    /// Whether none of its servers answers.
    pub is_down: bool,
    /// What it offers, once one of its servers has said so.
    pub offers: Option<Extensions>,
}

/// Adds what the mail system behind is known to have against an envelope, where nothing decides
/// before.
pub fn add_behind(explanation: &mut Explanation, envelope: &Envelope, behind: &Behind) {
    if explanation.decided_by.is_some() {
        return;
    }
    let Envelope { said, sender, recipient, .. } = envelope;
    let mailboxes = [sender.mailbox(), recipient.mailbox()];
    let is_international = mailboxes.into_iter().flatten().any(Mailbox::is_international);
    let most = behind.offers.and_then(|offers| offers.size).unwrap_or(u64::MAX);
    let subject = || format!("<{recipient}>");
    let refusal = if is_international && behind.offers.is_some_and(|offers| !offers.smtputf8) {
        Some(Refusal::new(Reason::NoSmtputf8, subject()))
    } else {
        let size = said.size.filter(|size| *size > most);
        size.map(|size| Refusal::new(Reason::DeclaredSize, format_args!("{}: {size}", subject())))
    };
    if refusal.is_none() && !behind.is_down {
        return;
    }
    let name = &behind.name;
    let note = match &refusal {
        Some(refusal) if refusal.reason == Reason::DeclaredSize => {
            format!("{name} accepts {most} octets at most")
        }
        Some(_) => format!("{name} does not offer SMTPUTF8"),
        // What is so for the moment says nothing of the envelope.
        None => {
            let now = Refusal::new(Reason::BackendDown, subject()).reply(REFERENCE);
            format!("{name} does not answer now: {}", now.to_string().trim_end())
        }
    };
    let finding = Finding { stage: Stage::Backend, note, refusal, needs: None };
    let stage = stage(finding);
    explanation.decided_by = (!stage.passes).then(|| stage.stage.clone());
    explanation.stages.push(stage);
}

fn sender(text: &str) -> Result<ReversePath, String> {
    command::written_sender(text).ok_or_else(|| not_an_address("sender", text))
}

fn recipient(text: &str) -> Result<ForwardPath, String> {
    command::written_recipient(text).ok_or_else(|| not_an_address("recipient", text))
}

fn not_an_address(which: &str, text: &str) -> String {
    let text = text.trim();
    format!("invalid {which} address: {}{}", text.escape_debug(), url_hint(text))
}

/// What a space may have been.
fn url_hint(text: &str) -> &'static str {
    if text.contains(' ') { "; in a URL, write + as %2B" } else { "" }
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
        reached: true,
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
        reached: true,
        reason: finding.refusal.as_ref().map(|refusal| refusal.reason.name().to_owned()),
        reply: finding.refusal.as_ref().map(reply),
        note: finding.note,
    }
}

/// A stage behind the one that decides: it finds nothing, since nothing comes to it.
fn not_reached(finding: &Finding) -> ExplainedStage {
    ExplainedStage {
        stage: finding.stage.name().to_owned(),
        passes: false,
        reached: false,
        reason: None,
        reply: None,
        note: String::new(),
    }
}

/// What is remembered where no daemon runs: nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoMemory;

impl Memory for NoMemory {
    fn is_suspended(&self, _: IpAddr, _: &Arc<str>) -> bool {
        false
    }

    fn is_known_invalid(&self, _: &Facts<'_>, _: &ForwardPath) -> bool {
        false
    }

    fn is_deferred(&self, _: IpAddr, _: bool, _: &Witness) -> bool {
        false
    }

    fn take_rate(&mut self, _: IpAddr, _: Option<&Arc<str>>, _: &ForwardPath) -> bool {
        true
    }
}
