//! Everything that a configuration decides for sessions.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::backend::{Pool, ServerHealth};
use super::tls::ServerTls;
use crate::config::Dns;
use crate::config::smtp::Smtp;
use crate::io::certificates::{self, Facts};
use crate::io::dns::Resolver;
use crate::policy::explain::Behind;
use crate::policy::relay::Direction;
use crate::policy::rules::Policy;
use crate::smtp::address::ForwardPath;
use crate::smtp::session::{Extensions, Offers, Settings, Times};

/// Everything that a configuration decides for sessions.
pub struct Generation {
    pub(super) smtp: Smtp,
    pub(super) policy: Policy,
    pub(super) settings: Arc<Settings>,
    pub(super) tls: Option<ServerTls>,
    /// The certificates that are served.
    pub(super) certificates: Vec<Facts>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) pools: HashMap<Arc<str>, Arc<Pool>>,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("hostname", &self.settings.hostname).finish()
    }
}

impl Generation {
    /// A generation; unchanged backends keep their health.
    ///
    /// # Errors
    ///
    /// All errors of certificates, one line each.
    pub fn new(
        smtp: Smtp,
        dns: &Dns,
        policy: Policy,
        hostname: &str,
        before: Option<&Self>,
    ) -> Result<Self, Vec<String>> {
        let tls = ServerTls::load(&smtp.tls, hostname, &policy.source)?;
        let (certificates, _) =
            certificates::look(&smtp.tls.certificates, &policy.source, hostname);
        let resolver = Resolver::new(dns, before.map(|before| &before.resolver))
            .map_err(|error| vec![error])?;
        let mut pools = HashMap::new();
        for config in &smtp.backends {
            let same = before
                .and_then(|before| before.pools.get(&config.name))
                // A certificate file may have changed under the same name.
                .filter(|pool| pool.config == *config && config.ca.is_none());
            let pool = match same {
                Some(pool) => pool.clone(),
                None => {
                    let pool = Pool::new(config.clone()).map_err(|error| vec![error])?;
                    let former = before.and_then(|before| before.pools.get(&config.name));
                    pool.note_addresses(former.iter().flat_map(|former| former.addresses()));
                    Arc::new(pool)
                }
            };
            pools.insert(config.name.clone(), pool);
        }
        let settings = Arc::new(settings(&smtp, hostname, tls.is_some()));
        Ok(Self { smtp, policy, settings, tls, certificates, resolver, pools })
    }

    /// What is known of the mail system that gets a recipient's mail.
    #[must_use]
    pub fn behind(&self, direction: Direction, recipient: &ForwardPath) -> Option<Behind> {
        let name = self.policy.backend_of(direction, recipient)?;
        let pool = self.pool(name)?;
        Some(Behind {
            name: name.to_string(),
            is_down: pool.health().iter().all(|server| server.error.is_some()),
            offers: pool.capabilities().map(|capabilities| capabilities.extensions),
        })
    }

    pub(super) fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        self.pools.get(name)
    }

    /// The extensions that a client is offered: those that one of its possible backends has, or may
    /// have while it was never reached. At RCPT, a recipient of a backend without them is refused.
    pub(super) fn offers(&self, direction: Direction) -> Offers {
        let smtp = &self.smtp;
        let behind: Vec<&str> = match direction {
            Direction::Inbound => smtp.domains.iter().map(|entry| &*entry.backend).collect(),
            Direction::Outgoing => {
                smtp.relay.iter().filter_map(|relay| relay.policy.backend.as_deref()).collect()
            }
        };
        let known: Vec<_> = behind
            .into_iter()
            .filter_map(|name| self.pool(name))
            .map(|pool| pool.capabilities().map(|known| known.extensions))
            .collect();
        let may = |has: fn(&Extensions) -> bool| {
            known.is_empty() || known.iter().any(|one| one.as_ref().is_none_or(has))
        };
        Offers { smtputf8: may(|one| one.smtputf8), dsn: may(|one| one.dsn) }
    }

    /// Whether name servers are queried about mail.
    pub(super) fn asks_dns(&self) -> bool {
        self.smtp.asks_dns()
    }

    /// The policy, for explanations.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The resolver.
    #[must_use]
    pub const fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }
}

/// The errors of an SMTP side's certificates, towards clients and backends.
#[must_use]
pub fn certificate_errors(smtp: &Smtp, hostname: &str, source: &str) -> Vec<String> {
    let mut errors = ServerTls::load(&smtp.tls, hostname, source).err().unwrap_or_default();
    errors.extend(smtp.backends.iter().filter_map(|backend| Pool::new(backend.clone()).err()));
    errors
}

/// Probes every server of every backend, up to EHLO and what follows it.
pub async fn probe(smtp: &Smtp, hostname: &str) -> Vec<ServerHealth> {
    let mut looks = JoinSet::new();
    for (place, config) in smtp.backends.iter().enumerate() {
        let (config, hostname) = (config.clone(), hostname.to_owned());
        looks.spawn(async move {
            let unusable = |error: String| {
                let one = |server: &String| ServerHealth {
                    backend: config.name.to_string(),
                    server: server.clone(),
                    error: Some(error.clone()),
                    plain: None,
                };
                config.servers.iter().map(one).collect()
            };
            match Pool::new(config.clone()) {
                Ok(pool) => {
                    pool.probe(&hostname, true).await;
                    (place, pool.health())
                }
                Err(error) => (place, unusable(error)),
            }
        });
    }
    let mut found: Vec<(usize, Vec<ServerHealth>)> = Vec::new();
    while let Some(look) = looks.join_next().await {
        found.extend(look.ok());
    }
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().flat_map(|(_, health)| health).collect()
}

fn settings(smtp: &Smtp, hostname: &str, starttls: bool) -> Settings {
    let limits = &smtp.limits;
    Settings {
        hostname: hostname.to_owned(),
        greeting_pause: limits.greeting_pause,
        message_size: limits.message_size,
        recipients: limits.recipients,
        errors: limits.errors,
        invalid_recipients: limits.invalid_recipients,
        hops: limits.hops,
        normalise_chunks: limits.normalise_chunks,
        starttls,
        times: Times {
            command: limits.command_timeout,
            data: limits.data_timeout,
            data_rate: limits.data_rate,
        },
    }
}
