//! Asks name servers.
//!
//! Answers are cached by their TTL, negative ones too, in bounded memory. Who asks
//! what is being asked already waits for the same answer. A question goes on when
//! nobody waits any more: its answer serves the next one.

mod records;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{self, Name};
use tokio::sync::watch;

pub use records::records;

use crate::config::Dns;
use crate::dns::{Answer, Failure, Lookup, Query, RecordType};
use crate::io::descriptors;

/// The name server of a host that names none.
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 53);

/// For how long "there is none" holds at least: name servers that say no TTL with
/// it are spared as well.
const NEGATIVE: Duration = Duration::from_secs(10);

/// For how long an answer holds at most.
const LONGEST: Duration = Duration::from_hours(24);

/// Labels and their lengths in a name (RFC 1035 section 3.1).
const NAME: usize = 255;

type Waiting = watch::Receiver<Option<Lookup>>;

/// The resolver of a configuration.
pub struct Resolver {
    config: Dns,
    resolver: TokioResolver,
    in_flight: Mutex<HashMap<Query, Waiting>>,
    /// Questions that are under way at once; more are not asked.
    most: usize,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver; `before` is kept, with its cache, where nothing changed.
    ///
    /// # Errors
    ///
    /// The library's, in words.
    pub fn new(config: &Dns, before: Option<&Arc<Self>>) -> Result<Arc<Self>, String> {
        if let Some(before) = before.filter(|before| before.config == *config) {
            return Ok(before.clone());
        }
        let most = descriptors::budget().questions;
        let provider = TokioRuntimeProvider::default();
        let by = |servers: &[SocketAddr]| {
            let servers = servers.iter().map(|server| name_server(*server)).collect();
            let servers = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(servers, provider.clone())
        };
        let builder = if config.servers.is_empty() {
            // Where the system names none, it is the host's own (resolv.conf(5)).
            TokioResolver::builder(provider.clone()).unwrap_or_else(|_| by(&[LOCAL]))
        } else {
            by(&config.servers)
        };
        let resolver = builder
            .with_options(options(config, most))
            .build()
            .map_err(|error| format!("dns: {error}"))?;
        let in_flight = Mutex::default();
        Ok(Arc::new(Self { config: config.clone(), resolver, in_flight, most }))
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    ///
    /// Why there is none. Never longer than the configured time for all attempts.
    pub async fn ask(self: &Arc<Self>, query: &Query) -> Lookup {
        self.ask_within(query, self.most).await
    }

    /// Asks a server, whatever is remembered and however many questions are under
    /// way: for the few that say whether a server works.
    ///
    /// # Errors
    ///
    /// As [`Self::ask`].
    pub async fn ask_anew(self: &Arc<Self>, query: &Query) -> Lookup {
        if let Some(name) = name(&query.name) {
            self.resolver.clear_lookup_cache(name, kind(query.kind));
        }
        self.ask_within(query, usize::MAX).await
    }

    async fn ask_within(self: &Arc<Self>, query: &Query, most: usize) -> Lookup {
        let Some(name) = name(&query.name) else {
            // What no name server can be asked about is not there.
            return Ok(Answer { records: Vec::new(), exists: false, ttl: NEGATIVE });
        };
        let mut waiting = match self.join(query, name, most) {
            Ok(waiting) => waiting,
            Err(failure) => return Err(failure),
        };
        let answered = waiting.wait_for(Option::is_some).await;
        match answered {
            Ok(lookup) => lookup.clone().unwrap_or(Err(Failure::TimedOut)),
            // The task is gone only when the daemon ends.
            Err(_) => Err(Failure::Failed("the lookup was given up".to_owned())),
        }
    }

    /// Asks many at once; answers are in the order of the questions.
    pub async fn ask_all(self: &Arc<Self>, queries: &[Query]) -> Vec<Lookup> {
        // All are under way before the first is waited for.
        let mut tasks = Vec::with_capacity(queries.len());
        for query in queries {
            let (resolver, query) = (self.clone(), query.clone());
            tasks.push(tokio::spawn(async move { resolver.ask(&query).await }));
        }
        let mut answers = Vec::with_capacity(tasks.len());
        for task in tasks {
            let gone = || Err(Failure::Failed("the lookup was given up".to_owned()));
            answers.push(task.await.unwrap_or_else(|_| gone()));
        }
        answers
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<Query, Waiting>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins who asks the same, or begins to ask.
    fn join(self: &Arc<Self>, query: &Query, name: Name, most: usize) -> Result<Waiting, Failure> {
        let mut in_flight = self.in_flight();
        if let Some(waiting) = in_flight.get(query) {
            return Ok(waiting.clone());
        }
        if in_flight.len() >= most {
            return Err(Failure::Failed("too many questions are under way".to_owned()));
        }
        let (done, waiting) = watch::channel(None);
        in_flight.insert(query.clone(), waiting.clone());
        let asked = InFlight { resolver: self.clone(), query: query.clone() };
        tokio::spawn(async move {
            let lookup = asked.resolver.lookup(&asked.query, name).await;
            drop(asked);
            done.send_replace(Some(lookup));
        });
        Ok(waiting)
    }

    async fn lookup(&self, query: &Query, name: Name) -> Lookup {
        let asked = self.resolver.lookup(name, kind(query.kind));
        match tokio::time::timeout(self.config.longest(), asked).await {
            Ok(Ok(lookup)) => {
                let records = records(lookup.answers(), query.kind);
                let ttl = lookup.valid_until().saturating_duration_since(Instant::now());
                Ok(Answer { records, exists: true, ttl })
            }
            Ok(Err(error)) => nothing(error),
            Err(_) => Err(Failure::TimedOut),
        }
    }
}

/// A question that is under way, until it is dropped, whatever ends it.
struct InFlight {
    resolver: Arc<Resolver>,
    query: Query,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.resolver.in_flight().remove(&self.query);
    }
}

/// No records, or no answer.
fn nothing(error: NetError) -> Lookup {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) =>
        {
            let ttl = Duration::from_secs(none.negative_ttl.unwrap_or(0).into());
            let exists = none.response_code == ResponseCode::NoError;
            Ok(Answer { records: Vec::new(), exists, ttl: ttl.clamp(NEGATIVE, LONGEST) })
        }
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            Err(Failure::Failed(none.response_code.to_string()))
        }
        NetError::Dns(DnsError::ResponseCode(code)) => Err(Failure::Failed(code.to_string())),
        NetError::Timeout => Err(Failure::TimedOut),
        error => Err(Failure::Failed(error.to_string())),
    }
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let connection = |mut connection: ConnectionConfig| {
        connection.port = server.port();
        connection
    };
    let connections =
        vec![connection(ConnectionConfig::udp()), connection(ConnectionConfig::tcp())];
    NameServerConfig::new(server.ip(), true, connections)
}

fn options(config: &Dns, most: usize) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = config.timeout;
    options.attempts = config.attempts;
    options.cache_size = config.cache;
    options.use_hosts_file = ResolveHosts::Never;
    options.negative_min_ttl = Some(NEGATIVE);
    options.negative_max_ttl = Some(LONGEST);
    options.positive_max_ttl = Some(LONGEST);
    options.max_active_requests = most;
    options.ndots = 0;
    options
}

/// The absolute name of labels between dots, whatever bytes they have; none where
/// one is empty or longer than 63 octets, or all are longer than 255.
fn name(text: &str) -> Option<Name> {
    if text.is_empty() || text.len() > NAME - 2 {
        return None;
    }
    let labels = text.split('.').map(str::as_bytes);
    if labels.clone().any(|label| label.is_empty() || label.len() > 63) {
        return None;
    }
    let mut name = Name::from_labels(labels).ok()?;
    name.set_fqdn(true);
    Some(name)
}

const fn kind(kind: RecordType) -> rr::RecordType {
    match kind {
        RecordType::A => rr::RecordType::A,
        RecordType::Aaaa => rr::RecordType::AAAA,
        RecordType::Mx => rr::RecordType::MX,
        RecordType::Ptr => rr::RecordType::PTR,
        RecordType::Txt => rr::RecordType::TXT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_asked_are_none() {
        assert_eq!(name("example.org").unwrap().to_string(), "example.org.");
        assert!(name("").is_none());
        assert!(name("a..b").is_none());
        assert!(name(".a").is_none());
        assert!(name(&format!("{}.org", "x".repeat(64))).is_none());
        assert!(name(&format!("{}.org", "x".repeat(63))).is_some());
        assert!(name(&["abcdefg"; 32].join(".")).is_none());
        assert_eq!(records::text(&name("a b@c.org").unwrap()), "a b@c.org");
    }
}
