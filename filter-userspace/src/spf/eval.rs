//! The evaluation: `check_host` of RFC 7208 section 4.

use std::net::IpAddr;

use super::evaluation::{Evaluation, Identity, Input, Outcome};
use super::known::{Known, Step};
use super::macros::MacroString;
use super::record::{Lengths, Mechanism};
use super::walk::{Halt, Result, Sender, Walk, is_at_or_below, shown};
use crate::dns::RecordType;

/// The problem of a redirect whose name depends on a local part that is not ASCII.
const NOT_ASCII: &str = "the local part is not ASCII, and a name depends on it";

/// The result for a record, and the explanation that goes with a fail.
struct Verdict {
    outcome: Outcome,
    mechanism: Option<String>,
    /// The `exp=` of the record that decided, and that record's domain.
    exp: Option<(MacroString, String)>,
}

impl Verdict {
    const fn plain(outcome: Outcome) -> Self {
        Self { outcome, mechanism: None, exp: None }
    }
}

/// Evaluates the sender's domain, or the client's own name for the null sender, by what is known.
#[must_use]
pub fn check(input: &Input<'_>, known: &Known) -> Step<Evaluation> {
    let (identity, local, domain) = match input.sender {
        Some((local, domain)) => (Identity::MailFrom, local, domain),
        None => (Identity::Helo, "", input.helo),
    };
    let local = if local.is_empty() { "postmaster" } else { local };
    // An international domain is queried by its A-labels (RFC 8616).
    let domain = if domain.is_ascii() {
        domain.to_owned()
    } else {
        idna::domain_to_ascii(domain).unwrap_or_default()
    };
    let domain = domain.strip_suffix('.').unwrap_or(&domain).to_ascii_lowercase();
    let client = input.client.to_canonical();
    let mut walk = Walk::new(known, client);
    walk.sender = Some(Sender { input: *input, local, domain: &domain });
    let (verdict, problem) = match walk.check_host(&domain, 0) {
        Ok(verdict) => (verdict, None),
        Err(Halt::Missing) => return Step::Ask(walk.missing),
        Err(Halt::Temporary(why)) => (Verdict::plain(Outcome::TempError), Some(why)),
        Err(Halt::Permanent(why)) => (Verdict::plain(Outcome::PermError), Some(why)),
        Err(Halt::NotAscii) => (Verdict::plain(Outcome::PermError), Some(NOT_ASCII.to_owned())),
    };
    let mut explanation = None;
    if let (Outcome::Fail, Some((exp, at))) = (verdict.outcome, &verdict.exp) {
        explanation = match walk.explanation(exp, at) {
            Ok(explanation) => explanation,
            Err(Halt::Missing) => return Step::Ask(walk.missing),
            // An invalid explanation does not change the result (RFC 7208 section 6.2).
            Err(_) => None,
        };
    }
    Step::Done(Evaluation {
        outcome: verdict.outcome,
        identity,
        domain: domain.clone(),
        client,
        mechanism: verdict.mechanism,
        problem,
        explanation,
        trace: walk.trace,
    })
}

impl Walk<'_> {
    fn check_host(&mut self, domain: &str, depth: usize) -> Result<Verdict> {
        let Some(record) = self.record(domain, depth)? else {
            return Ok(Verdict::plain(Outcome::None));
        };
        for directive in &record.directives {
            let matched = self.matches(&directive.mechanism, domain, depth + 1);
            let text = &directive.text;
            match matched {
                Ok(true) => {
                    let outcome = directive.outcome;
                    self.say(depth + 1, || format!("{text}: matches, {}", outcome.name()));
                    let exp = record.exp.clone().map(|exp| (exp, domain.to_owned()));
                    return Ok(Verdict { outcome, mechanism: Some(shown(text)), exp });
                }
                Ok(false) | Err(Halt::NotAscii) => {
                    self.say(depth + 1, || format!("{text}: does not match"));
                }
                Err(halt) => {
                    if let Halt::Temporary(why) | Halt::Permanent(why) = &halt {
                        self.say(depth + 1, || format!("{text}: {why}"));
                    }
                    return Err(halt);
                }
            }
        }
        let Some(redirect) = &record.redirect else {
            return Ok(Verdict::plain(Outcome::Neutral));
        };
        self.count_term()?;
        let target = self.name(redirect, domain)?;
        self.say(depth + 1, || format!("redirect={target}"));
        let verdict = self.check_host(&target, depth + 2)?;
        if verdict.outcome == Outcome::None {
            return Err(Halt::Permanent(format!("{domain}: redirect={target} has no record")));
        }
        Ok(verdict)
    }

    fn matches(&mut self, mechanism: &Mechanism, domain: &str, depth: usize) -> Result<bool> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(net) => {
                Ok(matches!(self.client, IpAddr::V4(client) if net.contains(&client)))
            }
            Mechanism::Ip6(net) => {
                Ok(matches!(self.client, IpAddr::V6(client) if net.contains(&client)))
            }
            Mechanism::Include(name) => {
                self.count_term()?;
                let target = self.name(name, domain)?;
                let verdict = self.check_host(&target, depth + 1)?;
                match verdict.outcome {
                    Outcome::Pass => Ok(true),
                    Outcome::None => {
                        Err(Halt::Permanent(format!("{domain}: include:{target} has no record")))
                    }
                    _ => Ok(false),
                }
            }
            Mechanism::A(name, lengths) => {
                self.count_term()?;
                let target = self.target(name.as_ref(), domain)?;
                let answer = self.look_for_term(&target, self.family())?;
                Ok(self.has_client(answer, *lengths))
            }
            Mechanism::Mx(name, lengths) => {
                self.count_term()?;
                let target = self.target(name.as_ref(), domain)?;
                self.matches_mx(&target, *lengths)
            }
            Mechanism::Ptr(name) => {
                self.count_term()?;
                let target = self.target(name.as_ref(), domain)?;
                let names = self.validated_names()?;
                Ok(names.iter().any(|name| is_at_or_below(name, &target)))
            }
            Mechanism::Exists(name) => {
                self.count_term()?;
                let target = self.name(name, domain)?;
                // IPv4 addresses, even for a client with IPv6 (RFC 7208 section 5.7).
                Ok(!self.look_for_term(&target, RecordType::A)?.records.is_empty())
            }
        }
    }

    fn matches_mx(&mut self, target: &str, lengths: Lengths) -> Result<bool> {
        let hosts = self.hosts(target)?;
        let family = self.family();
        // All are queried at once, and evaluated one after the other.
        let mut missing = false;
        for host in &hosts {
            match self.look_for_term(host, family) {
                Ok(answer) if self.has_client(answer, lengths) && !missing => return Ok(true),
                Ok(_) => {}
                Err(Halt::Missing) => missing = true,
                Err(halt) if !missing => return Err(halt),
                Err(_) => {}
            }
        }
        if missing { Err(Halt::Missing) } else { Ok(false) }
    }
}
