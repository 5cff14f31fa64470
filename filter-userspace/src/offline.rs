//! What the configuration and its lists say, without a daemon and without root.

mod asked;
mod online;
mod surroundings;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use asked::Asked;

use crate::config::smtp::Smtp;
use crate::config::{Dns, Doubts};
use crate::control::protocol::ListStatus;
use crate::generation::answer;
use crate::generation::certificates;
use crate::generation::files::Tolerance;
use crate::generation::read;
use crate::generation::rule_set::Loaded;
use crate::generation::standing::standing;
use crate::io::clock;
use crate::io::dns::Resolver;
use crate::io::minimum_kernel;
use crate::io::smtp::Asker;
use crate::io::spf::{Evaluator, Trace};
use crate::lists::{Answer, EnforcementTable, Lists};
use crate::policy::explain::{Deciding, Envelope, ExplainedEnvelope, Explanation, explain};
use crate::policy::facts::{Known, NoHistory};
use crate::policy::rules::Policy;
use crate::spf::{Evaluation, Input};

/// The time for an evaluation of SPF that no configuration bounds.
const SPF_BUDGET: Duration = Duration::from_secs(20);

/// What `mxdp check` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// What keeps the configuration from being used, a line each.
    pub errors: Vec<String>,
    /// What is allowed and probably not meant, a line each.
    pub warnings: Vec<String>,
    /// The list files and country databases that were read.
    pub lists: Vec<ListStatus>,
    /// The prefixes of the compiled IPv4 table.
    pub ipv4_prefixes: u64,
    /// The prefixes of the compiled IPv6 table.
    pub ipv6_prefixes: u64,
    /// What was asked on the network, with `--online`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub online: Vec<Asked>,
}

/// Reads the configuration and everything it names; with `online`, asks what it names on
/// the network too.
#[must_use]
pub fn check(config: &Path, online: bool) -> CheckReport {
    let read::Read { config, mut loaded, .. } = match read::read_strictly(config) {
        Ok(read) => read,
        Err(errors) => return CheckReport { errors, ..CheckReport::default() },
    };
    let Doubts { mut errors, mut warnings } = config.doubts(&surroundings::of(&config));
    if let Some(policy) = loaded.policy.take()
        && let Err(wrong) = certificates::generation(&config, policy, None)
    {
        errors.extend(wrong);
    }
    errors.extend(certificates::console_certificate(&config).err());
    errors.extend(certificates::directory_errors(&config));
    warnings.splice(0..0, minimum_kernel::too_old().into_iter().chain(config.warnings()));
    warnings.extend(loaded.warnings);
    if !errors.is_empty() {
        return CheckReport { errors, warnings, ..CheckReport::default() };
    }
    let asked = if online { asking(online::ask(&config)) } else { Ok(Vec::new()) };
    let (online, error) = match asked {
        Ok(online) => (online, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    errors.extend(error);
    CheckReport {
        errors,
        warnings,
        lists: ListStatus::of(&loaded.lists.set),
        ipv4_prefixes: loaded.lists.table.v4.len() as u64,
        ipv6_prefixes: loaded.lists.table.v6.len() as u64,
        online,
    }
}

/// The control socket that a configuration names.
///
/// # Errors
///
/// Every error of the configuration, in lines.
pub fn socket(config: &Path) -> Result<PathBuf, String> {
    let config = read::read_config(config).map_err(|errors| errors.join("\n"))?;
    Ok(config.startup.control.socket)
}

/// The lists of a configuration, ready to be asked.
pub struct Lookup {
    lists: Lists,
    enforcement: EnforcementTable,
    policy: Option<Policy>,
    smtp: Option<Smtp>,
    dns: Dns,
}

impl Lookup {
    /// Reads the configuration and its lists.
    ///
    /// # Errors
    ///
    /// Every error of either, in lines.
    pub fn open(config: &Path) -> Result<Self, String> {
        let loaded = read::read_config(config).and_then(|config| {
            let Loaded { lists, policy, .. } = read::load(&config, &Tolerance::Strict)?;
            Ok(Self {
                lists,
                enforcement: config.enforcement,
                policy,
                smtp: config.smtp,
                dns: config.dns,
            })
        });
        loaded.map_err(|errors| errors.join("\n"))
    }

    /// What the lists say of an address.
    #[must_use]
    pub fn answer(&self, ip: IpAddr) -> Answer {
        let found = self.lists.set.classify(ip);
        answer::answer(ip, &[&found], |class| self.enforcement.of(class)).0
    }

    /// What would become of a message. DNS is asked, as a session would.
    ///
    /// # Errors
    ///
    /// When the sender or the recipient is not an address, or there is no name server, in words.
    pub fn explain(&self, envelope: &ExplainedEnvelope) -> Result<Explanation, String> {
        let found = self.lists.set.classify(envelope.ip);
        let deciding = Deciding {
            standing: &standing(&[found], self.enforcement),
            syn: &self.answer(envelope.ip),
            policy: self.policy.as_ref(),
        };
        let envelope = Envelope::parse(envelope)?;
        let Some(smtp) = &self.smtp else {
            return Ok(explain(&envelope, &deciding, &Known::default(), &mut NoHistory).0);
        };
        asking(async {
            let asker = Asker::of(&self.dns, smtp, &certificates::hostname(smtp))?;
            Ok(asker.explain(&envelope, &deciding, &mut NoHistory).await)
        })
    }
}

/// A question of `mxdp spf`.
#[derive(Clone, Debug)]
pub struct SpfQuestion<'a> {
    /// The client's address.
    pub ip: IpAddr,
    /// What it calls itself.
    pub helo: &'a str,
    /// The sender; empty is the null sender.
    pub from: &'a str,
    /// The name servers; those of the configuration or the system where there are
    /// none.
    pub servers: &'a [SocketAddr],
}

/// Evaluates SPF. The name servers are those of the question, else those of the
/// configuration, where there is one.
///
/// # Errors
///
/// In words: every error of the configuration, or there is no name server.
pub fn spf(config: Option<&Path>, question: &SpfQuestion<'_>) -> Result<Evaluation, String> {
    let config = config.map(read::read_config).transpose().map_err(|errors| errors.join("\n"))?;
    let mut dns = config.as_ref().map(|config| config.dns.clone()).unwrap_or_default();
    if !question.servers.is_empty() {
        dns.servers = question.servers.to_vec();
    }
    let smtp = config.and_then(|config| config.smtp);
    let hostname = smtp.as_ref().map_or_else(|| "localhost".to_owned(), certificates::hostname);
    let sender = question.from.trim_start_matches('<').trim_end_matches('>');
    let input = Input {
        client: question.ip,
        helo: question.helo,
        sender: (!sender.is_empty()).then(|| sender.rsplit_once('@').unwrap_or(("", sender))),
        receiver: &hostname,
        unix: clock::unix_seconds(),
    };
    let budget = smtp.and_then(|smtp| smtp.spf).map_or(SPF_BUDGET, |spf| spf.budget);
    asking(async {
        let resolver = Resolver::new(&dns, None)?;
        let evaluator = Evaluator { resolver, workers: Arc::default() };
        Ok(evaluator.evaluate(&input, budget, Trace::Kept).await)
    })
}

/// Runs what asks name servers, without a daemon.
fn asking<T>(asking: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("the asynchronous runtime: {error}"))?.block_on(asking)
}
