//! Sends queries to name servers.
//!
//! Answers are cached by their TTL, negative ones too, in bounded memory. A caller with a query
//! that is under way already waits for the same answer. A query continues when nobody waits for it
//! any more: its answer serves the next caller. What senders can make grow, queries and answers,
//! has a part of its own, and each client network a share of it.

mod cache;
mod records;
pub mod system;
mod table;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
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
pub use table::Purpose;

use cache::Cache;
use table::{Table, Waiting};

use crate::config::Dns;
use crate::dns::{Answer, Failure, Lookup, Query, RecordType};
use crate::io::descriptors;

/// The name server of a host that configures none.
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 53);

/// The alarm if neither the configuration nor the system names a server.
pub const NO_SERVER: &str = "no name server is configured: dns.servers has none, and \
    /etc/resolv.conf has no `nameserver` line; 127.0.0.1 is asked";

/// How long a negative answer is valid at least: name servers that give no TTL with it are spared
/// as well.
const NEGATIVE: Duration = Duration::from_secs(10);

/// How long an answer is valid at most.
const LONGEST: Duration = Duration::from_hours(24);

/// Labels and their lengths in a name (RFC 1035 section 3.1).
const NAME: usize = 255;

/// Senders' part of the cache, in quarters.
const SENDERS: usize = 3;

/// The resolver of a configuration.
pub struct Resolver {
    config: Dns,
    asked: RwLock<Asked>,
    in_flight: Mutex<Table>,
    caches: Mutex<Caches>,
    /// The maximum number of queries of lists and senders under way at once; further ones are not
    /// sent.
    most: usize,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The servers that are queried.
#[derive(Clone)]
struct Asked {
    /// The servers of the configuration, or else the system's; if there are none, the host's own.
    servers: Vec<SocketAddr>,
    resolver: TokioResolver,
}

impl Asked {
    fn new(config: &Dns, servers: Vec<SocketAddr>, most: usize) -> Result<Self, String> {
        // If the system names none, the host's own is used (resolv.conf(5)).
        let named = if servers.is_empty() { &[LOCAL][..] } else { &servers };
        let named = named.iter().map(|server| name_server(*server)).collect();
        let named = ResolverConfig::from_name_servers(named);
        let resolver = TokioResolver::builder_with_config(named, TokioRuntimeProvider::default())
            .with_options(options(config, most))
            .build()
            .map_err(|error| format!("dns: {error}"))?;
        Ok(Self { servers, resolver })
    }
}

/// The caches.
struct Caches {
    /// For names that senders and customers choose, and names of clients.
    senders: Cache,
    /// For DNS lists, and names in the configuration.
    others: Cache,
}

impl Caches {
    fn new(config: &Dns) -> Self {
        let answers = usize::try_from(config.cache).unwrap_or(usize::MAX);
        let bytes = usize::try_from(config.cache_bytes).unwrap_or(usize::MAX);
        let part = |all: usize| (all / 4).saturating_mul(SENDERS);
        let (senders, sender_bytes) = (part(answers), part(bytes));
        Self {
            senders: Cache::new(senders, sender_bytes),
            others: Cache::new(answers - senders, bytes - sender_bytes),
        }
    }

    fn get(&mut self, query: &Query) -> Option<Answer> {
        let now = Instant::now();
        self.others.get(query, now).or_else(|| self.senders.get(query, now))
    }

    fn add(&mut self, query: &Query, answer: &Answer, purpose: Purpose) {
        let cache = match purpose {
            Purpose::Sender(_) | Purpose::Customer(_) | Purpose::Names(_) => &mut self.senders,
            Purpose::Own | Purpose::Lists(_) => &mut self.others,
        };
        cache.add(query, answer, purpose.owner(), Instant::now());
    }

    fn each(&mut self, mut act: impl FnMut(&mut Cache)) {
        act(&mut self.senders);
        act(&mut self.others);
    }
}

impl Resolver {
    /// A resolver; `before` is kept, with its cache, if nothing changed.
    ///
    /// # Errors
    ///
    /// The library's error, in words.
    pub fn new(config: &Dns, before: Option<&Arc<Self>>) -> Result<Arc<Self>, String> {
        if let Some(before) = before.filter(|before| before.config == *config) {
            before.follow_system();
            return Ok(before.clone());
        }
        let servers = match config.servers.is_empty() {
            true => system::servers(),
            false => config.servers.clone(),
        };
        let most = descriptors::budget().questions;
        let asked = RwLock::new(Asked::new(config, servers, most)?);
        let (in_flight, caches) = (Mutex::default(), Mutex::new(Caches::new(config)));
        Ok(Arc::new(Self { config: config.clone(), asked, in_flight, caches, most }))
    }

    fn asked(&self) -> Asked {
        self.asked.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Uses the servers that the system names now, if the configuration names none. The answers of
    /// the former ones are forgotten: they may be valid in another network only.
    pub fn follow_system(&self) {
        if !self.config.servers.is_empty() {
            return;
        }
        let servers = system::servers();
        if servers == self.asked().servers {
            return;
        }
        match Asked::new(&self.config, servers, self.most) {
            Ok(asked) => {
                tracing::info!(servers = ?asked.servers, "the system's name servers have changed");
                *self.asked.write().unwrap_or_else(PoisonError::into_inner) = asked;
                self.shed();
            }
            Err(error) => tracing::error!("cannot use the system's name servers: {error}"),
        }
    }

    /// Whether neither the configuration nor the system names a server.
    #[must_use]
    pub fn lacks_servers(&self) -> bool {
        self.asked().servers.is_empty()
    }

    /// Forgets all answers, because memory is short.
    pub fn shed(&self) {
        self.caches().each(Cache::clear);
    }

    /// Forgets the answers of a DNS list that turned out to be unreliable.
    pub fn forget(&self, zone: &str) {
        self.caches().each(|cache| cache.remove_below(zone));
    }

    /// Sends a query and waits for the answer.
    ///
    /// # Errors
    ///
    /// Why there is no answer, within the configured time for all attempts.
    pub async fn ask(self: &Arc<Self>, query: &Query, purpose: Purpose) -> Lookup {
        // A cached answer needs no slot.
        let known = self.caches().get(query);
        match known {
            Some(answer) => Ok(answer),
            None => self.ask_servers(query, purpose).await,
        }
    }

    /// Queries a server, whatever is cached and however many queries are under way: for the few
    /// queries that check whether a server works.
    ///
    /// # Errors
    ///
    /// The same as for [`Self::ask`].
    pub async fn ask_anew(self: &Arc<Self>, query: &Query) -> Lookup {
        self.caches().each(|cache| cache.remove(query));
        self.ask_servers(query, Purpose::Own).await
    }

    async fn ask_servers(self: &Arc<Self>, query: &Query, purpose: Purpose) -> Lookup {
        let Some(name) = name(&query.name) else {
            // A name that cannot be queried does not exist.
            return Ok(Answer { records: Vec::new(), exists: false, ttl: NEGATIVE });
        };
        let mut waiting = match self.join(query, name, purpose) {
            Ok(waiting) => waiting,
            Err(failure) => return Err(failure),
        };
        let answered = waiting.wait_for(Option::is_some).await;
        match answered {
            Ok(lookup) => lookup.clone().unwrap_or(Err(Failure::TimedOut)),
            // The task disappears only when the daemon ends.
            Err(_) => Err(Failure::Failed("the lookup was given up".to_owned())),
        }
    }

    /// Sends many queries at once; answers are in the order of the queries.
    pub async fn ask_all(self: &Arc<Self>, queries: &[Query], purpose: Purpose) -> Vec<Lookup> {
        // All are sent before the first is waited for.
        let mut tasks = Vec::with_capacity(queries.len());
        for query in queries {
            let (resolver, query) = (self.clone(), query.clone());
            tasks.push(tokio::spawn(async move { resolver.ask(&query, purpose).await }));
        }
        let mut answers = Vec::with_capacity(tasks.len());
        for task in tasks {
            let gone = || Err(Failure::Failed("the lookup was given up".to_owned()));
            answers.push(task.await.unwrap_or_else(|_| gone()));
        }
        answers
    }

    fn in_flight(&self) -> MutexGuard<'_, Table> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn caches(&self) -> MutexGuard<'_, Caches> {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a query that is under way, or begins one.
    fn join(
        self: &Arc<Self>,
        query: &Query,
        name: Name,
        purpose: Purpose,
    ) -> Result<Waiting, Failure> {
        let mut in_flight = self.in_flight();
        if let Some(waiting) = in_flight.waiting(query) {
            return Ok(waiting);
        }
        let (done, waiting) = watch::channel(None);
        in_flight
            .begin(query, waiting.clone(), purpose, self.most)
            .map_err(|why| Failure::Failed(why.to_owned()))?;
        let asked = InFlight { resolver: self.clone(), query: query.clone() };
        tokio::spawn(async move {
            let lookup = asked.resolver.lookup(&asked.query, name).await;
            if let Ok(answer) = &lookup {
                asked.resolver.caches().add(&asked.query, answer, purpose.folded());
            }
            drop(asked);
            done.send_replace(Some(lookup));
        });
        Ok(waiting)
    }

    async fn lookup(&self, query: &Query, name: Name) -> Lookup {
        let resolver = self.asked().resolver;
        let asked = resolver.lookup(name, kind(query.kind));
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

/// A query that is under way, until it is dropped, whatever ends it.
struct InFlight {
    resolver: Arc<Resolver>,
    query: Query,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.resolver.in_flight().end(&self.query);
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
    // The library's own cache is off: answers are cached here, by their size and owner.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.negative_min_ttl = Some(NEGATIVE);
    options.negative_max_ttl = Some(LONGEST);
    options.positive_max_ttl = Some(LONGEST);
    options.max_active_requests = descriptors::of_all(most);
    options.ndots = 0;
    options
}

/// The absolute name of labels between dots, whatever bytes they contain; none if one is empty or
/// longer than 63 octets, or all are longer than 255.
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
