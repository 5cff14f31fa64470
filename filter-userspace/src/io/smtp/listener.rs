//! Listeners: they accept, bound how many, and begin sessions.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use super::edge::Edge;
use super::generation::Generation;
use super::inherited::Inherited;
use super::proxy::{self, Opening};
use super::serve::{self, Accepted};
use crate::config::Startup;
use crate::io::clock::now;
use crate::io::descriptors;
use crate::io::networks::{is_in, wide};
use crate::io::places::{self, Bounds};
use crate::io::ports::CannotListen;
use crate::lists::ClientNetwork;
use crate::policy::relay::Direction;
use crate::policy::tls::Mode;
use crate::smtp::refusal::{Reason, Refusal};
use crate::smtp::session::{Client, Settings};

/// The number of refused connections that are told 421 and given time to read it. Further ones are
/// told and closed at once.
const TOLD: usize = 64;

/// How long a session must have been idle before it gives way to another when all slots are in use:
/// as long as Postfix waits for a command under stress.
const IDLE: Duration = Duration::from_secs(10);

/// A wide network that holds more than this fraction of all slots gives way whatever its sessions
/// do.
const GREEDY: usize = 8;
const LEAST_GREEDY: usize = 16;

/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Listening sockets.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<(TcpListener, Kind)>,
    /// The most connections at once, of all of them.
    connections: usize,
}

/// The service of a socket.
#[derive(Clone, Copy, Debug)]
struct Kind {
    direction: Direction,
    /// Whether it begins with TLS.
    implicit: bool,
}

/// Listens on every address, with the socket that the service manager opened for it if there is
/// one.
///
/// # Errors
///
/// When one cannot be opened, or a socket was handed over for no configured address; then none is
/// open.
pub fn bind(startup: &Startup, mut inherited: Inherited) -> Result<Listeners> {
    let sockets = startup.mail_listeners().map(|(key, address)| {
        let direction = match key {
            "relay.listen" | "relay.listen_tls" => Direction::Outgoing,
            _ => Direction::Inbound,
        };
        let implicit = matches!(key, "listen.smtps" | "relay.listen_tls");
        (key, address, Kind { direction, implicit })
    });
    let listeners = sockets.map(|(key, address, kind)| {
        let listener = match inherited.take(address)? {
            Some(socket) => TcpListener::from_std(socket),
            None => listen_on(address),
        };
        Ok((listener.map_err(|error| CannotListen::new(key, address, error))?, kind))
    });
    let sockets = listeners.collect::<Result<_>>()?;
    inherited.finish()?;
    let connections = startup.mail.as_ref().map_or(0, |mail| mail.smtp.connections);
    Ok(Listeners { sockets, connections })
}

fn listen_on(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        // Works beside a listener on 0.0.0.0, as operators configure it.
        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None)?;
        socket.set_only_v6(true)?;
        socket.set_nonblocking(true)?;
        TcpSocket::from_std_stream(socket.into())
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}

impl Listeners {
    /// Serves all of them, until the edge ends.
    pub fn serve(self, edge: &Arc<Edge>) {
        let total = permitted(self.connections);
        let greedy = (total / GREEDY).max(LEAST_GREEDY);
        let served = places::Places::new(Bounds { total, each: total, greedy });
        let places = Places { served, told: Arc::new(Semaphore::new(TOLD)) };
        for (listener, kind) in self.sockets {
            tokio::spawn(accept(listener, kind, edge.clone(), places.clone()));
        }
    }
}

/// The slots for connections.
#[derive(Clone)]
struct Places {
    /// Served connections, by their wide networks. When all slots are in use, the connection of the
    /// largest holder that has been idle for the longest gives way.
    served: Arc<places::Places<IpAddr>>,
    /// Refused connections, kept until the client has read the refusal. They use a pool of their
    /// own, so that one address cannot exhaust the serving slots.
    told: Arc<Semaphore>,
}

/// The configured number of connections, as far as file descriptors permit.
fn permitted(wanted: usize) -> usize {
    let budget = descriptors::budget();
    let possible = budget.sessions.saturating_sub(TOLD / 2).max(1);
    if possible < wanted {
        tracing::warn!(
            wanted,
            possible,
            open_files = budget.all,
            "the limit of open files permits fewer connections (LimitNOFILE= in the unit)"
        );
    }
    wanted.min(possible)
}

async fn accept(listener: TcpListener, kind: Kind, edge: Arc<Edge>, places: Places) {
    let mut ending = edge.ending();
    let mut failures = 0_u64;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // The next daemon accepts new connections.
            _ = ending.wait_for(|ended| *ended) => return,
        };
        match accepted {
            Ok((stream, address)) => {
                if failures > 0 {
                    tracing::info!(failures, "accepts connections again");
                    edge.set_accept_error(None);
                    failures = 0;
                }
                _ = stream.set_nodelay(true);
                tokio::spawn(begin(edge.clone(), stream, address, kind, places.clone()));
            }
            Err(error) => {
                // Usually out of descriptors or memory: open connections must end first, and new
                // ones wait in the kernel's backlog. It is logged once, or it would fill logs.
                if failures == 0 {
                    tracing::error!("cannot accept connections for now: {error}");
                    edge.set_accept_error(Some(error.to_string()));
                }
                failures += 1;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Counts a connection as long as it lasts.
struct Counted {
    edge: Arc<Edge>,
    network: ClientNetwork,
}

impl Counted {
    /// Counts a connection, and returns whether the address is within its limit.
    fn new(edge: &Arc<Edge>, address: IpAddr, limit: usize) -> (Self, bool) {
        let network = ClientNetwork::of(address);
        let mut counts = edge.counts();
        let count = counts.connections.entry(network).or_insert(0);
        *count += 1;
        let has_room = *count <= limit;
        drop(counts);
        edge.open.fetch_add(1, Ordering::Relaxed);
        edge.total.fetch_add(1, Ordering::Relaxed);
        (Self { edge: edge.clone(), network }, has_room)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.edge.open.fetch_sub(1, Ordering::Relaxed);
        let mut counts = self.edge.counts();
        if let Some(count) = counts.connections.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.connections.remove(&self.network);
            }
        }
    }
}

async fn begin(
    edge: Arc<Edge>,
    mut stream: TcpStream,
    mut address: SocketAddr,
    kind: Kind,
    places: Places,
) {
    let generation = edge.generation();
    let Ok(local) = stream.local_addr() else { return };
    let mut place = places.served.try_enter(wide(address.ip()), IDLE);
    let mut told = None;
    if place.is_none() {
        told = places.told.clone().try_acquire_owned().ok();
    }
    let mut patient = place.is_some() || told.is_some();
    // Without time to read the header, the balancer itself is told.
    if patient && is_in(&generation.smtp.listen.proxy_networks, address.ip()) {
        match proxy::read(&mut stream).await {
            Ok(Opening::Header(Some(source))) => {
                address = source;
                if let Some(place) = &place {
                    place.belong_to(wide(address.ip()));
                }
            }
            Ok(Opening::Header(None)) => {}
            Ok(Opening::Nothing) => return edge.balancers.checked(address),
            Err(error) => return edge.balancers.failed(address, &error),
        }
    }
    let limits = &generation.smtp.limits;
    let (counted, has_room) = Counted::new(&edge, address.ip(), limits.connections_per_address);
    let refusal = if place.is_none() || edge.is_short() {
        Some(Refusal::new(Reason::TooManyConnections, ""))
    } else if has_room {
        None
    } else {
        Some(Refusal::new(Reason::TooManyFromAddress, address.ip().to_canonical()))
    };
    if refusal.is_some() && place.take().is_some() {
        told = places.told.clone().try_acquire_owned().ok();
        patient = told.is_some();
    }
    let client = client(&edge, &generation, address, kind.direction);
    let settings = settings(&generation, address.ip());
    let Kind { direction, implicit } = kind;
    let accepted = Accepted {
        edge,
        generation,
        stream,
        address,
        local,
        direction,
        implicit,
        client,
        settings,
        refusal,
        patient,
        place,
    };
    serve::serve(accepted).await;
    drop(counted);
    drop(told);
}

fn client(
    edge: &Edge,
    generation: &Generation,
    address: SocketAddr,
    direction: Direction,
) -> Client {
    let bare = is_in(&generation.smtp.limits.normalise_networks, address.ip());
    Client {
        address: address.ip().to_canonical(),
        name: None,
        port: address.port(),
        id: edge.session_id(now()),
        bare_newlines: bare.into(),
        offers: generation.offers(direction),
    }
}

/// The settings of a session; some peers are not offered STARTTLS.
fn settings(generation: &Generation, address: IpAddr) -> Arc<Settings> {
    let offered = generation.policy.tls.of_client(address.to_canonical()).mode != Mode::None;
    if offered || !generation.settings.starttls {
        return generation.settings.clone();
    }
    Arc::new(Settings { starttls: false, ..(*generation.settings).clone() })
}
