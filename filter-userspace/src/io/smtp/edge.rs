//! What all connections share: the generation in force, and what is counted.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::{mpsc, watch};

use super::asker::Asker;
use super::backend::{Pool, ServerHealth};
use super::events::Events;
use super::tls::ServerTls;
use super::zones::{ZoneHealth, Zones};
use crate::config::Dns;
use crate::config::smtp::Smtp;
use crate::io::clock;
use crate::io::dns::Resolver;
use crate::policy::escalation::{Offence, Offenders};
use crate::policy::pipeline::{Connection, Memory, Policy};
use crate::policy::rates::{Rate, Remembered};
use crate::policy::relay::{Suspension, Watch};
use crate::smtp::address::ForwardPath;
use crate::smtp::session::{Extensions, Now, Settings, Times};

/// How long the backend's word on a recipient is remembered.
const NEGATIVE: Duration = Duration::from_secs(60);

/// What the packet filter's lists say of an address, and its country.
pub type Classify = Arc<dyn Fn(IpAddr) -> Standing + Send + Sync>;

/// What is known of an address before it says anything.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// What the lists say.
    pub connection: Connection,
    /// Its country.
    pub country: Option<String>,
}

/// A temporary block that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// The address.
    pub address: IpAddr,
    /// For how long.
    pub time: Duration,
    /// For what.
    pub offence: Offence,
}

/// Everything that a configuration decides for sessions.
pub struct Generation {
    pub(super) smtp: Smtp,
    pub(super) policy: Policy,
    pub(super) settings: Arc<Settings>,
    pub(super) tls: Option<ServerTls>,
    pub(super) resolver: Arc<Resolver>,
    pools: HashMap<Arc<str>, Arc<Pool>>,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("hostname", &self.settings.hostname).finish()
    }
}

impl Generation {
    /// A generation; backends that did not change keep their health.
    ///
    /// # Errors
    ///
    /// All that is wrong with certificates, a line each.
    pub fn new(
        smtp: Smtp,
        dns: &Dns,
        policy: Policy,
        hostname: &str,
        before: Option<&Self>,
    ) -> Result<Self, Vec<String>> {
        let tls = ServerTls::load(&smtp.tls, hostname)?;
        let resolver = Resolver::new(dns, before.map(|before| &before.resolver))
            .map_err(|error| vec![error])?;
        let mut pools = HashMap::new();
        for config in &smtp.backends {
            let same = before
                .and_then(|before| before.pools.get(&config.name))
                // A certificate may have changed behind the same name.
                .filter(|pool| pool.config == *config && config.ca.is_none());
            let pool = match same {
                Some(pool) => pool.clone(),
                None => Arc::new(Pool::new(config.clone()).map_err(|error| vec![error])?),
            };
            pools.insert(config.name.clone(), pool);
        }
        let settings = Arc::new(settings(&smtp, hostname, tls.is_some()));
        Ok(Self { smtp, policy, settings, tls, resolver, pools })
    }

    pub(super) fn pool(&self, name: &str) -> Option<&Arc<Pool>> {
        self.pools.get(name)
    }

    /// What every backend offers; one that was never reached is not asked.
    pub(super) fn offers(&self) -> Extensions {
        let known = self.pools.values().filter_map(|pool| pool.capabilities());
        known.fold(Extensions::ALL, |all, one| all.and(one.extensions))
    }

    /// The policy, for explanations.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Who asks name servers.
    #[must_use]
    pub const fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }
}

fn settings(smtp: &Smtp, hostname: &str, starttls: bool) -> Settings {
    let limits = &smtp.limits;
    let longest = |time: fn(&crate::config::smtp::Backend) -> Duration| {
        smtp.backends.iter().map(time).max().unwrap_or(Duration::from_secs(300))
    };
    Settings {
        hostname: hostname.to_owned(),
        greeting_pause: limits.greeting_pause,
        message_size: limits.message_size,
        recipients: limits.recipients,
        errors: limits.errors,
        invalid_recipients: limits.invalid_recipients,
        hops: limits.hops,
        starttls,
        times: Times {
            command: limits.command_timeout,
            data: limits.data_timeout,
            data_rate: limits.data_rate,
            backend_reply: longest(|backend| backend.reply_timeout),
            backend_data: longest(|backend| backend.data_timeout),
            backend_final: longest(|backend| backend.final_timeout),
        },
    }
}

/// What is counted.
pub(super) struct Counts {
    /// Connections of each address.
    pub(super) connections: HashMap<IpAddr, usize>,
    per_address: Rate<IpAddr>,
    per_recipient: Rate<String>,
    invalid: Remembered<String>,
    offenders: Offenders,
    watch: Watch,
    /// Addresses under a temporary block, and until when.
    blocked: HashMap<IpAddr, Instant>,
}

/// What all connections share.
pub struct Edge {
    generation: RwLock<Arc<Generation>>,
    classify: RwLock<Classify>,
    counts: Mutex<Counts>,
    pub(super) events: Events,
    pub(super) zones: Arc<Zones>,
    blocks: mpsc::Sender<Block>,
    ending: watch::Sender<bool>,
    serial: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) total: AtomicU64,
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").finish_non_exhaustive()
    }
}

/// The state of the edge, for people.
#[derive(Clone, Debug)]
pub struct SmtpStatus {
    /// Connections that are open.
    pub open: u64,
    /// Connections since the start.
    pub connections: u64,
    /// Recipients whose message the backend has.
    pub accepted: u64,
    /// Recipients that were refused, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Records that could not be written.
    pub lost_records: u64,
    /// The servers behind.
    pub servers: Vec<ServerHealth>,
    /// The DNS lists.
    pub zones: Vec<ZoneHealth>,
}

impl Edge {
    /// An edge; temporary blocks are asked for by `blocks`.
    #[must_use]
    pub fn new(
        generation: Generation,
        classify: Classify,
        blocks: mpsc::Sender<Block>,
    ) -> Arc<Self> {
        let rate = generation.smtp.rate;
        let counts = Counts {
            connections: HashMap::new(),
            per_address: Rate::new(rate.per_address),
            per_recipient: Rate::new(rate.per_recipient),
            invalid: Remembered::new(),
            offenders: Offenders::default(),
            watch: Watch::default(),
            blocked: HashMap::new(),
        };
        Arc::new(Self {
            generation: RwLock::new(Arc::new(generation)),
            classify: RwLock::new(classify),
            counts: Mutex::new(counts),
            events: Events::start(),
            zones: Arc::default(),
            blocks,
            ending: watch::Sender::new(false),
            serial: AtomicU64::new(0),
            open: AtomicU64::new(0),
            total: AtomicU64::new(0),
        })
    }

    /// The generation in force.
    #[must_use]
    pub fn generation(&self) -> Arc<Generation> {
        self.generation.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a generation in force, for the next connections and transactions.
    pub fn publish(&self, generation: Generation) {
        let rate = generation.smtp.rate;
        {
            let mut counts = self.counts();
            counts.per_address.set(rate.per_address);
            counts.per_recipient.set(rate.per_recipient);
        }
        let generation = Arc::new(generation);
        *self.generation.write().unwrap_or_else(PoisonError::into_inner) = generation;
    }

    /// Puts lists in force.
    pub fn publish_lists(&self, classify: Classify) {
        *self.classify.write().unwrap_or_else(PoisonError::into_inner) = classify;
    }

    /// What is known of an address.
    #[must_use]
    pub fn standing(&self, address: IpAddr) -> Standing {
        let classify = self.classify.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut standing = classify(address);
        let connection = &mut standing.connection;
        if connection.approved.is_none() && connection.refused.is_none() && self.is_blocked(address)
        {
            connection.refused = Some((crate::smtp::refusal::Reason::TemporaryBlock, None));
        }
        standing
    }

    /// The addresses under a temporary block, each with the time it has left and
    /// had in all.
    pub fn publish_blocks(&self, blocks: impl Iterator<Item = (IpAddr, Duration, Duration)>) {
        let now = Instant::now();
        let blocks = blocks.map(|(address, left, time)| (network(address), now + left, time));
        let blocks: Vec<_> = blocks.collect();
        let mut counts = self.counts();
        counts.blocked = blocks.iter().map(|(address, end, _)| (*address, *end)).collect();
        for (address, end, time) in blocks {
            counts.offenders.remember(address, time, end);
        }
    }

    /// One more of them.
    pub fn publish_block(&self, address: IpAddr, time: Duration) {
        let (address, end) = (network(address), Instant::now() + time);
        let mut counts = self.counts();
        counts.blocked.insert(address, end);
        counts.offenders.remember(address, time, end);
    }

    /// One less.
    pub fn lift_block(&self, address: IpAddr) {
        let address = network(address);
        let mut counts = self.counts();
        counts.blocked.remove(&address);
        counts.offenders.forgive(address);
    }

    fn is_blocked(&self, address: IpAddr) -> bool {
        let until = self.counts().blocked.get(&network(address)).copied();
        until.is_some_and(|until| until > Instant::now())
    }

    /// Ends the edge: sessions finish their message, and are told to come again.
    pub fn end(&self) {
        self.ending.send_replace(true);
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }

    /// The state of everything, for people.
    #[must_use]
    pub fn status(&self) -> SmtpStatus {
        let generation = self.generation();
        let mut servers: Vec<_> =
            generation.pools.values().flat_map(|pool| pool.health()).collect();
        servers.sort_by(|a, b| (&a.backend, &a.server).cmp(&(&b.backend, &b.server)));
        let (accepted, refused) = self.events.totals();
        SmtpStatus {
            open: self.open.load(Ordering::Relaxed),
            connections: self.total.load(Ordering::Relaxed),
            accepted,
            refused,
            lost_records: self.events.lost(),
            servers,
            zones: self.zones.health(&generation.policy.reputation),
        }
    }

    /// Looks at all backends, until the edge ends.
    pub async fn watch_backends(self: Arc<Self>) {
        let mut ending = self.ending();
        // The first look at all was before the listeners.
        for round in 1_u32.. {
            self.probe(round.is_multiple_of(super::backend::PROBE_ALL)).await;
            tokio::select! {
                () = tokio::time::sleep(super::backend::PROBE) => {}
                _ = ending.wait_for(|ended| *ended) => return,
            }
        }
    }

    /// Who asks the network, for a generation.
    #[must_use]
    pub fn asker(&self, generation: &Generation) -> Asker {
        let Generation { resolver, smtp, settings, .. } = generation;
        Asker::new(resolver.clone(), self.zones.clone(), smtp, &settings.hostname)
    }

    /// Looks at the DNS lists whose time has come.
    pub async fn look_at_zones(&self) {
        let generation = self.generation();
        self.zones.look(&generation.resolver, &generation.policy.reputation).await;
    }

    /// Looks at the DNS lists, until the edge ends.
    pub async fn watch_zones(self: Arc<Self>) {
        let mut ending = self.ending();
        loop {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                _ = ending.wait_for(|ended| *ended) => return,
            }
            self.look_at_zones().await;
        }
    }

    /// Looks at the servers that are down once, or at all.
    pub async fn probe(&self, all: bool) {
        let generation = self.generation();
        let mut probes = tokio::task::JoinSet::new();
        for pool in generation.pools.values() {
            let (pool, generation) = (pool.clone(), generation.clone());
            probes.spawn(async move { pool.probe(&generation.settings.hostname, all).await });
        }
        while probes.join_next().await.is_some() {}
    }

    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of a session: time and a serial number, in Crockford's base 32.
    pub(super) fn session_id(&self, now: Now) -> String {
        const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let value = (now.unix_ms << 20) | (serial & 0xf_ffff);
        let digit = |index: u32| {
            let digit = usize::try_from((value >> (5 * index)) & 31).unwrap_or(0);
            char::from(DIGITS[digit])
        };
        (0..13).rev().map(digit).collect()
    }

    /// Remembers that the backend knows no such recipient.
    pub(super) fn remember_invalid(&self, recipient: &ForwardPath, now: Instant) {
        if let Some(mailbox) = recipient.mailbox() {
            self.counts().invalid.add(mailbox.key(), now + NEGATIVE);
        }
    }

    /// Counts a recipient that a customer's host named.
    pub(super) fn watch_host(
        &self,
        generation: &Generation,
        client: IpAddr,
        customer: &Arc<str>,
        sender: Option<&str>,
        valid: bool,
    ) {
        let Some(relay) = &generation.smtp.relay else { return };
        let host = (network(client), customer);
        let now = Instant::now();
        let mut counts = self.counts();
        if let Some(suspension) = counts.watch.count(&relay.limits, host, sender, valid, now) {
            tracing::error!(
                host = %suspension.host,
                customer = &*suspension.customer,
                reason = suspension.suspicion.name(),
                "a host may not send out for a time"
            );
        }
    }

    /// The hosts that may not send out for a time.
    #[must_use]
    pub fn suspended(&self) -> Vec<Suspension> {
        self.counts().watch.suspended(Instant::now())
    }

    /// A host may not send out for a time, as before.
    pub fn suspend(&self, suspension: Suspension) {
        self.counts().watch.restore(suspension);
    }

    /// Lets hosts send out again, and gives them.
    pub fn resume(&self, address: Option<IpAddr>, customer: Option<&str>) -> Vec<Suspension> {
        let address = address.map(network);
        let is_meant = |suspension: &Suspension| {
            address.is_none_or(|address| suspension.host == address)
                && customer.is_none_or(|customer| *suspension.customer == *customer)
        };
        self.counts().watch.resume(is_meant, Instant::now())
    }

    /// Counts an offence of an address, and asks for its block after too many.
    pub(super) fn offend(&self, address: IpAddr, generation: &Generation, offence: Offence) {
        // Where a list decides, a block would not (and lists may have changed since
        // the session began).
        let connection = self.standing(address).connection;
        if connection.approved.is_some() || connection.refused.is_some() {
            return;
        }
        let rules = &generation.smtp.escalation;
        let full = self.counts().offenders.add(rules, network(address), offence, Instant::now());
        let Some(time) = full else { return };
        if self.blocks.try_send(Block { address, time, offence }).is_err() {
            self.counts().offenders.forgive(network(address));
            tracing::error!(%address, offence = offence.name(), "a block was lost: too many at once");
        }
    }
}

/// Counts that a session's questions need.
pub(super) struct Shared<'a>(pub(super) &'a Edge);

impl Memory for Shared<'_> {
    fn is_suspended(&self, client: IpAddr) -> bool {
        self.0.counts().watch.is_suspended(network(client), Instant::now())
    }

    fn is_known_invalid(&self, recipient: &ForwardPath) -> bool {
        let key = recipient.mailbox().map(|mailbox| mailbox.key());
        key.is_some_and(|key| self.0.counts().invalid.has(key.as_str(), Instant::now()))
    }

    fn take_rate(&mut self, client: IpAddr, recipient: &ForwardPath) -> bool {
        let mut counts = self.0.counts();
        let now = Instant::now();
        let (client, recipient) = (network(client), recipient.to_string().to_lowercase());
        // Neither is charged for what the other refuses.
        counts.per_address.has_room(&client, now)
            && counts.per_recipient.take(recipient, now)
            && counts.per_address.take(client, now)
    }
}

/// Looks at counts, and changes none: for explanations.
#[derive(Clone, Copy, Debug)]
pub struct Peek<'a>(pub &'a Edge);

impl Memory for Peek<'_> {
    fn is_suspended(&self, client: IpAddr) -> bool {
        Shared(self.0).is_suspended(client)
    }

    fn is_known_invalid(&self, recipient: &ForwardPath) -> bool {
        Shared(self.0).is_known_invalid(recipient)
    }

    fn take_rate(&mut self, client: IpAddr, recipient: &ForwardPath) -> bool {
        let counts = self.0.counts();
        let now = Instant::now();
        counts.per_address.has_room(&network(client), now)
            && counts.per_recipient.has_room(&recipient.to_string().to_lowercase(), now)
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 /64.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// Whether one of the networks has the address.
pub(super) fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// The time.
pub(super) fn now() -> Now {
    Now { monotonic: Instant::now(), unix_ms: clock::unix_ms() }
}
