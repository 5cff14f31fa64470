//! `check --online`: asks what the configuration names on the network, as the daemon would.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::asked::Asked;
use super::surroundings;
use crate::config::smtp::Smtp;
use crate::config::{Config, Dns};
use crate::dns::{Query, RecordType};
use crate::generation::certificates::hostname;
use crate::generation::{answers, read};
use crate::io::dns::Resolver;
use crate::io::{ldap, ports, smtp as edge};
use crate::policy::reputation::Zone;

/// How long a directory may take.
const DIRECTORY: Duration = Duration::from_secs(30);

/// A name that a name server is asked about where no domain is configured.
const ANY_DOMAIN: &str = "example.com";

/// Asks everything at once, and reports it in the order of the configuration.
pub(super) async fn ask(config: &Config) -> Result<Vec<Asked>, String> {
    let mut tasks = JoinSet::new();
    let mut order = 0;
    let mut spawn = |asking: std::pin::Pin<Box<dyn Future<Output = Vec<Asked>> + Send>>| {
        let place = order;
        order += 1;
        tasks.spawn(async move { (place, asking.await) });
    };
    let domain = config.smtp.as_ref().and_then(|smtp| smtp.domains.first()?.names.first());
    let domain = domain.map_or(ANY_DOMAIN.to_owned(), |name| name.domain.to_string());
    for server in servers(&config.dns) {
        spawn(Box::pin(resolver(config.dns.clone(), server, domain.clone())));
    }
    if let Some(smtp) = &config.smtp {
        let resolver = Resolver::new(&config.dns, None)?;
        for zone in zones(config, smtp)? {
            spawn(Box::pin(listed(resolver.clone(), zone)));
        }
        let (backends, hostname) = (smtp.clone(), hostname(smtp));
        spawn(Box::pin(async move {
            let health = edge::probe(&backends, &hostname).await;
            health.into_iter().map(backend).collect()
        }));
        for directory in &smtp.directories {
            let (directory, most) = (directory.clone(), config.limits.prefixes);
            let bytes = config.limits.file_bytes;
            spawn(Box::pin(async move {
                let query = answers::query(&directory, most, bytes, DIRECTORY);
                let answer = match query {
                    Ok(query) => ldap::addresses(&query).await,
                    Err(error) => Err(error),
                };
                vec![match answer {
                    Ok(found) => {
                        good("ldap", &directory.name, format!("{} addresses", found.len()))
                    }
                    Err(error) => bad("ldap", &directory.name, format!("{error:#}")),
                }]
            }));
        }
    }
    let mut answers = Vec::new();
    while let Some(answer) = tasks.join_next().await {
        answers.push(answer.map_err(|error| format!("a check ended early: {error}"))?);
    }
    answers.sort_by_key(|(place, _)| *place);
    let mut asked: Vec<_> = answers.into_iter().flat_map(|(_, asked)| asked).collect();
    asked.extend(config.startup.listeners().map(|(key, address)| port(key, address)));
    Ok(asked)
}

fn good(kind: &str, name: &str, detail: impl Into<String>) -> Asked {
    Asked { kind: kind.to_owned(), name: name.to_owned(), good: true, detail: detail.into() }
}

fn bad(kind: &str, name: &str, detail: impl Into<String>) -> Asked {
    Asked { good: false, ..good(kind, name, detail) }
}

/// The name servers that the daemon asks.
fn servers(dns: &Dns) -> Vec<SocketAddr> {
    if !dns.servers.is_empty() {
        return dns.servers.clone();
    }
    let mut found = surroundings::system_resolvers();
    if found.is_empty() {
        // resolv.conf(5): without any, the host's own.
        found.push(IpAddr::from([127, 0, 0, 1]));
    }
    found.into_iter().map(|ip| SocketAddr::new(ip, 53)).collect()
}

async fn resolver(dns: Dns, server: SocketAddr, domain: String) -> Vec<Asked> {
    let name = server.to_string();
    let alone = Dns { servers: vec![server], ..dns };
    let start = Instant::now();
    let answer = match Resolver::new(&alone, None) {
        Ok(resolver) => resolver.ask_anew(&Query::new(&domain, RecordType::Mx)).await,
        Err(error) => return vec![bad("resolver", &name, error)],
    };
    let time = start.elapsed().as_millis();
    vec![match answer {
        Ok(_) => good("resolver", &name, format!("answers for {domain} in {time} ms")),
        Err(error) => bad("resolver", &name, format!("no answer for {domain}: {error}")),
    }]
}

/// The zones of both services, each once, with their keys.
fn zones(config: &Config, smtp: &Smtp) -> Result<Vec<Zone>, String> {
    let mut zones: Vec<Zone> = Vec::new();
    for (_, service) in read::reputation_of(config, smtp)?.services() {
        for zone in &service.zones {
            if !zones.iter().any(|known| known.name == zone.name) {
                zones.push(zone.clone());
            }
        }
    }
    Ok(zones)
}

async fn listed(resolver: std::sync::Arc<Resolver>, zone: Zone) -> Vec<Asked> {
    let (listed, unlisted) = zone.controls();
    let answers = tokio::join!(resolver.ask_anew(&listed), resolver.ask_anew(&unlisted));
    let failed = if zone.control {
        zone.failure(&answers.0, &answers.1)
    } else {
        answers.0.err().map(|error| error.to_string())
    };
    vec![match failed {
        None if zone.control => {
            good("zone", &zone.name, "lists 127.0.0.2 and does not list 127.0.0.1")
        }
        None => good("zone", &zone.name, "answers; test entries are not looked at"),
        Some(why) => bad("zone", &zone.name, why),
    }]
}

fn backend(health: edge::ServerHealth) -> Asked {
    let name = format!("{} {}", health.backend, health.server);
    match health.error {
        None => good("backend", &name, "answers EHLO, with what the configuration needs"),
        Some(error) => bad("backend", &name, error),
    }
}

fn port(key: &str, address: SocketAddr) -> Asked {
    let name = format!("{key} {address}");
    match ports::look_at(address) {
        ports::Port::Free => good("port", &name, "is free"),
        ports::Port::Ours(who) => good("port", &name, format!("mxdp listens there ({who})")),
        ports::Port::Taken(why) => bad("port", &name, why),
    }
}
