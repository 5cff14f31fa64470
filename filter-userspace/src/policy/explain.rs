//! `explain`: the whole way of a message that nobody sent, stage by stage.
//!
//! In: an envelope in words, what decides (from files, or the daemon's), and what the network says.
//! Out: an [`Explanation`]. The stages are those of sessions, and the reply is the one that a
//! session would give.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::facts::{Facts, History, Known, Need, Standing};
use super::pipeline::{self, Finding};
use super::relay::Direction;
use super::rules::Policy;
use super::stages::Case;
use crate::lists::Answer;
use crate::smtp::address::{ForwardPath, Mailbox, ReversePath};
use crate::smtp::command;
use crate::smtp::refusal::{Reason, Refusal, Stage};
use crate::smtp::session::{Extensions, Tls};

/// The reference in a reply that nobody gets.
const REFERENCE: &str = "none";

/// A message that nobody sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedEnvelope {
    /// The client's address.
    pub ip: IpAddr,
    /// The name in its HELO or EHLO.
    pub helo: Option<String>,
    /// The sender; empty is the null sender.
    pub from: String,
    /// The recipient.
    pub rcpt: String,
    /// The size that MAIL declares, in bytes.
    pub size: Option<u64>,
    /// The version of TLS, 12 or 13; none is no TLS.
    pub tls: Option<u8>,
    /// Whether the client presents a valid certificate.
    pub certificate: bool,
    /// Whether it is sent out through the relay.
    #[serde(default)]
    pub relay: bool,
}

/// The explanation of a message, stage by stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The message.
    pub envelope: ExplainedEnvelope,
    /// The client's country.
    pub country: Option<String>,
    /// The first stage that refuses; none if the backend decides.
    pub decided_by: Option<String>,
    /// Every stage, in order; those behind the first that refuses are not reached.
    pub stages: Vec<ExplainedStage>,
}

/// The finding of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedStage {
    /// Its name.
    pub stage: String,
    /// Whether it lets the message pass; a stage that is not reached does not.
    pub passes: bool,
    /// Whether the message comes to it: behind the first that refuses none is reached, and
    /// nothing is found.
    #[serde(default = "yes")]
    pub reached: bool,
    /// The reason of a refusal.
    pub reason: Option<String>,
    /// The reply.
    pub reply: Option<String>,
    /// What it found, and the rule with file and line.
    pub note: String,
}

/// What decides about an envelope.
#[derive(Clone, Copy, Debug)]
pub struct Deciding<'a> {
    /// The verdict on the client's SYN.
    pub syn: &'a Answer,
    /// The verdict of the lists on the client.
    pub standing: &'a Standing,
    /// The policy; without one, only the SYN is judged.
    pub policy: Option<&'a Policy>,
}

/// An envelope that nobody sent, with parsed addresses.
pub struct Envelope {
    said: ExplainedEnvelope,
    sender: ReversePath,
    recipient: ForwardPath,
}

impl Envelope {
    /// Reads an envelope.
    ///
    /// # Errors
    ///
    /// When the sender or the recipient is not an address, in words.
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
        })
    }

    /// The client's address.
    #[must_use]
    pub const fn client(&self) -> IpAddr {
        self.said.ip.to_canonical()
    }

    /// The recipient.
    #[must_use]
    pub const fn recipient(&self) -> &ForwardPath {
        &self.recipient
    }

    /// Its direction.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        if self.said.relay { Direction::Outgoing } else { Direction::Inbound }
    }

    /// The facts of its message.
    #[must_use]
    pub fn facts(&self, standing: &Standing) -> Facts {
        Facts {
            direction: self.direction(),
            client: self.client(),
            helo: self.said.helo.clone().unwrap_or_default(),
            tls: tls(&self.said),
            connection: standing.connection.clone(),
            sender: self.sender.clone(),
            size: self.said.size,
        }
    }
}

/// Walks an envelope through every stage, as far as what is known suffices. Also returns what must
/// be learnt to continue.
pub fn explain(
    envelope: &Envelope,
    deciding: &Deciding<'_>,
    known: &Known,
    history: &mut dyn History,
) -> (Explanation, Option<Need>) {
    let mut stages = vec![syn_stage(deciding.syn)];
    let mut need = None;
    match deciding.policy {
        Some(policy) => {
            let facts = &envelope.facts(deciding.standing);
            let case = Case { policy, facts, recipient: &envelope.recipient };
            let findings = pipeline::findings(&case, known, history);
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
        envelope: envelope.said.clone(),
        country: deciding.standing.country.clone(),
        decided_by,
        stages,
    };
    (explanation, need)
}

/// What a running daemon knows about the backend.
pub struct Behind {
    /// Its name in the configuration.
    pub name: String,
    /// Whether none of its servers answers.
    pub is_down: bool,
    /// Its extensions, once one of its servers has announced them.
    pub offers: Option<Extensions>,
}

/// Adds the backend's known objections to an envelope, if nothing decides before.
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
            format!("{name} accepts {most} bytes at most")
        }
        Some(_) => format!("{name} does not offer SMTPUTF8"),
        // A temporary state is not an objection to the envelope.
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
    command::written_sender(text).map_err(|_| not_an_address("sender", text))
}

fn recipient(text: &str) -> Result<ForwardPath, String> {
    command::written_recipient(text).map_err(|_| not_an_address("recipient", text))
}

fn not_an_address(which: &str, text: &str) -> String {
    let text = text.trim();
    format!("invalid {which} address: {}{}", text.escape_debug(), url_hint(text))
}

/// A hint at what a space may have been.
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
    // The kernel's name.
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

/// A stage behind the one that decides: it is not reached, and finds nothing.
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

const fn yes() -> bool {
    true
}
