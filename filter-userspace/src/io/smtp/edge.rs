//! The state that all connections share: the active generation, and counts.

mod blocks;

use std::collections::HashMap;
use std::fmt;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::asker::Asker;
use super::events::{Events, Recording};
use super::generation::Generation;
use super::handshakes::Handshakes;
use super::proxy::Balancers;
use super::room::{Memory, Room};
use super::zones::Zones;
use crate::io::kernel::give_back;
use crate::io::networks::wide;
use crate::io::spf::Evaluator;
use crate::io::workers::Workers;
use crate::lists::{ClientNetwork, Protected};
use crate::policy::escalation::Offenders;
use crate::policy::facts::Standing;
use crate::policy::offences::Offence;
use crate::policy::rates::{Rate, Remembered};
use crate::policy::relay::{Direction, Suspension, Watch};
use crate::smtp::session::Now;

/// How often memory usage is read.
const MEMORY: Duration = Duration::from_millis(200);

/// How often free memory is returned to the kernel, while memory is scarce.
const GIVEN_BACK: Duration = Duration::from_secs(1);

/// The standing of an address by the packet filter's lists, and its country.
pub type Classify = Arc<dyn Fn(IpAddr) -> Standing + Send + Sync>;

/// A request for a temporary block.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// The address.
    pub address: IpAddr,
    /// How long it lasts.
    pub time: Duration,
    /// The offence.
    pub offence: Offence,
}

/// The counts.
pub(super) struct Counts {
    /// Connections of each address.
    pub(super) connections: HashMap<ClientNetwork, usize>,
    /// By the client network, and for outgoing mail by its customer.
    pub(super) per_address: Rate<(ClientNetwork, Option<Arc<str>>)>,
    pub(super) per_recipient: Rate<u128>,
    pub(super) invalid: Remembered<u128>,
    pub(super) offenders: Offenders,
    pub(super) watch: Watch,
    /// Addresses under a temporary block, and when each ends.
    blocked: HashMap<ClientNetwork, Instant>,
}

/// The state that all connections share.
pub struct Edge {
    generation: RwLock<Arc<Generation>>,
    classify: RwLock<Classify>,
    /// The addresses that are never blocked automatically.
    protected: RwLock<Arc<Protected>>,
    counts: Mutex<Counts>,
    pub(super) events: Events,
    pub(super) handshakes: Handshakes,
    pub(super) zones: Arc<Zones>,
    pub(super) memory: Arc<Memory>,
    pub(super) workers: Arc<Workers>,
    pub(super) balancers: Balancers,
    /// Why no connection can be accepted for now.
    pub(super) accept_error: Mutex<Option<String>>,
    pub(super) blocks: mpsc::Sender<Block>,
    ending: watch::Sender<bool>,
    giving_up: watch::Sender<bool>,
    /// The hashers for the keys of counts.
    pub(super) hashers: [RandomState; 2],
    serial: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) total: AtomicU64,
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").finish_non_exhaustive()
    }
}

impl Edge {
    /// An edge; temporary blocks are requested through `blocks`, and records go to `recording`.
    #[must_use]
    pub fn new(
        generation: Generation,
        classify: Classify,
        blocks: mpsc::Sender<Block>,
        recording: Recording,
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
            protected: RwLock::new(Arc::new(Protected::new())),
            counts: Mutex::new(counts),
            events: Events::start(recording),
            handshakes: Handshakes::default(),
            zones: Arc::default(),
            memory: Memory::new(),
            balancers: Balancers::default(),
            workers: Arc::default(),
            accept_error: Mutex::default(),
            blocks,
            ending: watch::Sender::new(false),
            giving_up: watch::Sender::new(false),
            hashers: [RandomState::new(), RandomState::new()],
            serial: AtomicU64::new(0),
            open: AtomicU64::new(0),
            total: AtomicU64::new(0),
        })
    }

    /// The active generation.
    #[must_use]
    pub fn generation(&self) -> Arc<Generation> {
        self.generation.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Activates a generation, for the next connections and transactions.
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

    /// Activates lists.
    pub fn publish_lists(&self, classify: Classify) {
        *self.classify.write().unwrap_or_else(PoisonError::into_inner) = classify;
    }

    /// The standing of an address.
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

    /// Shuts the edge down: sessions finish their message, and clients are told to retry.
    pub fn end(&self) {
        self.ending.send_replace(true);
    }

    /// The number of open connections.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Ends sessions that did not end in time: clients are told so, and it is recorded.
    pub fn give_up(&self) {
        self.giving_up.send_replace(true);
    }

    pub(super) fn giving_up(&self) -> watch::Receiver<bool> {
        self.giving_up.subscribe()
    }

    pub(super) fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }

    /// Probes all backends, until the edge ends.
    pub async fn watch_backends(self: Arc<Self>) {
        let mut ending = self.ending();
        // The first probe of all was before the listeners.
        for round in 1_u32.. {
            self.probe(round.is_multiple_of(super::backend::PROBE_ALL)).await;
            tokio::select! {
                () = tokio::time::sleep(super::backend::PROBE) => {}
                _ = ending.wait_for(|ended| *ended) => return,
            }
        }
    }

    /// The asker for a generation.
    #[must_use]
    pub fn asker(&self, generation: &Generation) -> Asker {
        let Generation { resolver, smtp, settings, .. } = generation;
        let evaluator = Evaluator { resolver: resolver.clone(), workers: self.workers.clone() };
        Asker::new(evaluator, self.zones.clone(), smtp, &settings.hostname)
    }

    /// Checks the DNS lists that are due.
    pub async fn look_at_zones(&self) {
        let generation = self.generation();
        self.zones.look(&generation.resolver, &generation.policy.reputation).await;
    }

    /// Checks the DNS lists, until the edge ends.
    pub async fn watch_zones(self: Arc<Self>) {
        let mut ending = self.ending();
        loop {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                _ = ending.wait_for(|ended| *ended) => {
                    self.record_handshakes(true);
                    return;
                }
            }
            self.record_handshakes(false);
            self.generation().resolver.follow_system();
            self.look_at_zones().await;
        }
    }

    /// Reads memory usage, until the edge ends.
    pub async fn watch_memory(self: Arc<Self>) {
        let mut ending = self.ending();
        let mut given_back = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep(MEMORY) => {}
                _ = ending.wait_for(|ended| *ended) => return,
            }
            self.memory.look();
            if self.memory.is_scarce() && given_back.elapsed() >= GIVEN_BACK {
                given_back = Instant::now();
                // A panic would have been logged.
                _ = tokio::task::spawn_blocking(give_back).await;
                self.memory.look();
            }
            if self.is_short() {
                self.generation().resolver.shed();
            }
        }
    }

    /// Whether memory is so short that no session may begin.
    pub(super) fn is_short(&self) -> bool {
        self.memory.is_short()
    }

    /// Reserves memory for a message of a client.
    pub(super) fn room(&self, client: IpAddr) -> Option<Room> {
        self.memory.room(wide(client))
    }

    /// Sets why no connection can be accepted for now; none if they can.
    pub(super) fn set_accept_error(&self, why: Option<String>) {
        *self.accept_error.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Probes the servers that are down, or all, once.
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

    /// Notes the number of accepted recipients of a session whose message is under way, and the
    /// number before.
    pub(super) fn note_open(
        &self,
        client: IpAddr,
        direction: Direction,
        (before, open): (usize, usize),
    ) {
        let (client, mut counts) = (ClientNetwork::of(client), self.counts());
        match direction {
            Direction::Inbound => counts.offenders.note_open(client, before, open),
            Direction::Outgoing => counts.watch.note_open(client, before, open),
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
        let host = (ClientNetwork::of(client), customer);
        let now = Instant::now();
        let mut counts = self.counts();
        if let Some(suspension) = counts.watch.count(&relay.limits, host, sender, valid, now) {
            tracing::error!(
                host = %suspension.host.first(),
                customer = &*suspension.customer,
                reason = suspension.suspicion.name(),
                "the host is suspended from sending"
            );
        }
    }

    /// Counts a recipient of a customer's host that was temporarily refused.
    pub(super) fn defer_host(&self, generation: &Generation, client: IpAddr, customer: &Arc<str>) {
        let Some(relay) = &generation.smtp.relay else { return };
        let host = (ClientNetwork::of(client), customer);
        self.counts().watch.defer(&relay.limits, host, Instant::now());
    }

    /// The hosts that are suspended from sending.
    #[must_use]
    pub fn suspended(&self) -> Vec<Suspension> {
        self.counts().watch.suspended(Instant::now())
    }

    /// Suspends a host again that was suspended before.
    pub fn suspend(&self, suspension: Suspension) {
        self.counts().watch.restore(suspension);
    }

    /// Lifts suspensions, and returns them.
    pub fn resume(&self, address: Option<IpAddr>, customer: Option<&str>) -> Vec<Suspension> {
        let address = address.map(ClientNetwork::of);
        let is_meant = |suspension: &Suspension| {
            address.is_none_or(|address| suspension.host == address)
                && customer.is_none_or(|customer| *suspension.customer == *customer)
        };
        self.counts().watch.resume(is_meant, Instant::now())
    }
}
