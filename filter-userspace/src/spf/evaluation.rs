//! The input and the result of an evaluation of SPF.

use std::net::IpAddr;

use serde::Serialize;

/// The message to evaluate.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// The name in its HELO or EHLO.
    pub helo: &'a str,
    /// The sender's local part and domain; none is the null sender, for which the client's own name
    /// is evaluated (RFC 7208 section 2.4).
    pub sender: Option<(&'a str, &'a str)>,
    /// The name of this host, for explanations.
    pub receiver: &'a str,
    /// Seconds of the Unix epoch, for explanations.
    pub unix: u64,
}

/// The result (RFC 7208 section 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// There is no record, or no domain.
    None,
    /// The domain states nothing about the client.
    Neutral,
    /// The client is authorised.
    Pass,
    /// The client is not authorised.
    Fail,
    /// The client is probably not authorised.
    SoftFail,
    /// The result is not known for now.
    TempError,
    /// The record is invalid.
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

/// Whose domain was evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// The sender's.
    MailFrom,
    /// The client's own name.
    Helo,
}

/// A line of the trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TraceLine {
    /// The depth of includes and redirects, from 0.
    pub depth: usize,
    /// A step and its result.
    pub text: String,
}

/// The result of an evaluation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evaluation {
    /// The result.
    pub outcome: Outcome,
    /// Whose domain was evaluated.
    pub identity: Identity,
    /// The domain.
    pub domain: String,
    /// The client.
    pub client: IpAddr,
    /// The mechanism that decided, as it is written in the record.
    pub mechanism: Option<String>,
    /// The problem, if there is one.
    pub problem: Option<String>,
    /// The domain's explanation for a client that is not authorised (RFC 7208 section 6.2);
    /// printable ASCII.
    pub explanation: Option<String>,
    /// The trace.
    pub trace: Vec<TraceLine>,
}

impl Evaluation {
    /// The result of an evaluation that was given up.
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
