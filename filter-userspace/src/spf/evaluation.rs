//! What is asked of SPF, and what comes of it.

use std::net::IpAddr;

use serde::Serialize;

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// What it calls itself.
    pub helo: &'a str,
    /// The sender's local part and domain; none is the null sender, for which the
    /// client's own name is asked about (section 2.4).
    pub sender: Option<(&'a str, &'a str)>,
    /// The name of this host, for explanations.
    pub receiver: &'a str,
    /// Seconds of the Unix epoch, for explanations.
    pub unix: u64,
}

/// The result (section 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// There is no record, or no domain.
    None,
    /// The domain says nothing of the client.
    Neutral,
    /// The client may.
    Pass,
    /// The client may not.
    Fail,
    /// The client probably may not.
    SoftFail,
    /// It cannot be said now.
    TempError,
    /// The record is wrong.
    PermError,
}

impl Outcome {
    /// Its name in headers and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// Whose domain was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// The sender's.
    MailFrom,
    /// The client's own name.
    Helo,
}

/// A line of how it came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TraceLine {
    /// How deep in includes and redirects, from 0.
    pub depth: usize,
    /// What was looked at, and what came of it.
    pub text: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evaluation {
    /// The result.
    pub outcome: Outcome,
    /// Whose domain was asked about.
    pub identity: Identity,
    /// The domain.
    pub domain: String,
    /// The client.
    pub client: IpAddr,
    /// The mechanism that decided, as its record has it.
    pub mechanism: Option<String>,
    /// What is wrong, where something is.
    pub problem: Option<String>,
    /// What the domain says to a client that may not (section 6.2); printable ASCII.
    pub explanation: Option<String>,
    /// How it came about.
    pub trace: Vec<TraceLine>,
}

impl Evaluation {
    /// Of an evaluation that came to no end.
    #[must_use]
    pub fn given_up(input: &Input<'_>) -> Self {
        let (identity, domain) = match input.sender {
            Some((_, domain)) => (Identity::MailFrom, domain),
            None => (Identity::Helo, input.helo),
        };
        Self {
            outcome: Outcome::TempError,
            identity,
            domain: domain.to_owned(),
            client: input.client.to_canonical(),
            mechanism: None,
            problem: Some("the evaluation was given up".to_owned()),
            explanation: None,
            trace: Vec::new(),
        }
    }

    /// What decided, in a few words.
    #[must_use]
    pub fn summary(&self) -> String {
        match (&self.problem, &self.mechanism) {
            (Some(problem), _) => problem.clone(),
            (None, Some(mechanism)) => format!("{} {mechanism}", self.domain),
            (None, None) => self.domain.clone(),
        }
    }

    /// The trace as an indented tree.
    #[must_use]
    pub fn tree(&self) -> String {
        let lines = self.trace.iter().map(|line| {
            let indent = "  ".repeat(line.depth);
            format!("{indent}{}\n", line.text.escape_debug())
        });
        lines.collect()
    }
}
