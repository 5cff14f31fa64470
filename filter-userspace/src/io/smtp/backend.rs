//! Backends: pools of servers, their health, and the dialogue up to EHLO.

mod talk;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use self::talk::{Failed, Talk, connect, down};
use super::introduction::ClientFacts;
use super::proxy;
use super::stream::Stream;
use super::tls;
use crate::config::smtp::{Backend, BackendTls, ClientAddress};
use crate::lists::ClientNetwork;
use crate::smtp::reply::Replies;
use crate::smtp::session::{BackendTimes, Capabilities, Extensions, OpenFailure, Opened};

/// How often servers that are down are probed.
pub(super) const PROBE: Duration = Duration::from_secs(10);

/// Every n-th time, servers that are up are probed too.
pub(super) const PROBE_ALL: u32 = 6;

/// The servers of a backend.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) config: Backend,
    tls: Option<Arc<rustls::ClientConfig>>,
    servers: Vec<Server>,
    capabilities: Mutex<Option<Capabilities>>,
    /// The addresses at which servers were reached lately, the latest last.
    addresses: Mutex<Vec<IpAddr>>,
    /// The number of connections for clients of each network.
    links: Mutex<HashMap<ClientNetwork, usize>>,
}

/// One connection of a client's network to a backend, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Arc<Pool>,
    network: ClientNetwork,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut links = self.pool.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = links.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                links.remove(&self.network);
            }
        }
    }
}

/// The maximum number of remembered addresses of a backend.
const ADDRESSES: usize = 64;

#[derive(Debug)]
struct Server {
    name: String,
    down: AtomicBool,
    error: Mutex<String>,
    /// Why messages go to it without TLS although it offers TLS; none if they do not.
    plain: Mutex<Option<String>>,
    /// Whether the log already has that it does not accept a client's address.
    unaddressed: AtomicBool,
}

/// The state of a server, for people.
#[derive(Clone, Debug)]
pub struct ServerHealth {
    /// The backend.
    pub backend: String,
    /// `host:port`.
    pub server: String,
    /// Why it is down; none when it is up.
    pub error: Option<String>,
    /// Why messages go to it without TLS although it offers TLS; none if they do not.
    pub plain: Option<String>,
}

impl Pool {
    pub(super) fn new(config: Backend) -> Result<Self, String> {
        let server = |name: &String| Server {
            name: name.clone(),
            down: AtomicBool::new(false),
            error: Mutex::default(),
            plain: Mutex::default(),
            unaddressed: AtomicBool::new(false),
        };
        Ok(Self {
            tls: tls::towards(&config)?,
            servers: config.servers.iter().map(server).collect(),
            capabilities: Mutex::default(),
            links: Mutex::default(),
            addresses: Mutex::default(),
            config,
        })
    }

    /// The addresses at which servers were reached lately.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes the addresses at which servers were reached.
    pub(super) fn note_addresses(&self, reached: impl IntoIterator<Item = IpAddr>) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        for address in reached {
            let address = address.to_canonical();
            addresses.retain(|known| *known != address);
            addresses.push(address);
        }
        let extra = addresses.len().saturating_sub(ADDRESSES);
        addresses.drain(..extra);
    }

    /// Counts one more connection for a client of a network, if it has fewer than `most`: a mail
    /// system accepts few connections, and a client that names a recipient and falls silent holds
    /// one.
    pub(super) fn lease(self: &Arc<Self>, network: ClientNetwork, most: usize) -> Option<Lease> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let count = links.entry(network).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(links);
        Some(Lease { pool: self.clone(), network })
    }

    /// The capabilities of the servers, once one has answered.
    pub(super) fn capabilities(&self) -> Option<Capabilities> {
        *self.capabilities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the servers are sent the client's names.
    pub(super) fn wants_names(&self) -> bool {
        self.config.client_address == ClientAddress::Xclient
    }

    pub(super) fn health(&self) -> Vec<ServerHealth> {
        let health = |server: &Server| ServerHealth {
            backend: self.config.name.to_string(),
            server: server.name.clone(),
            error: server
                .down
                .load(Ordering::Relaxed)
                .then(|| server.error.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            plain: server.plain.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        self.servers.iter().map(health).collect()
    }

    /// Opens a connection for a client: to the first server that is up, or else to any that
    /// answers.
    pub(super) async fn open(
        &self,
        hostname: &str,
        client: Option<&ClientFacts>,
    ) -> Result<(Stream, Opened), OpenFailure> {
        let mut failure = OpenFailure::Down;
        let (up, down): (Vec<_>, Vec<_>) =
            self.servers.iter().partition(|server| !server.down.load(Ordering::Relaxed));
        for server in up.into_iter().chain(down) {
            match self.try_server(server, hostname, client).await {
                Ok((stream, capabilities)) => {
                    let times = BackendTimes {
                        reply: self.config.reply_timeout,
                        data: self.config.data_timeout,
                        end: self.config.final_timeout,
                    };
                    let opened = Opened { capabilities, address: server.name.clone(), times };
                    return Ok((stream, opened));
                }
                // 421 may concern the server only: the next one may accept.
                Err(Failed::Refused(reply)) if reply.code == 421 => {
                    failure = OpenFailure::Refused(reply);
                }
                Err(Failed::Refused(reply)) => return Err(OpenFailure::Refused(reply)),
                Err(Failed::Unfit(_)) => failure = OpenFailure::Unfit,
                Err(Failed::Down(_) | Failed::Doubtful(_) | Failed::Tls(_)) => {}
            }
        }
        Err(failure)
    }

    /// Probes the servers that are down, or all, and remembers their state.
    pub(super) async fn probe(&self, hostname: &str, all: bool) {
        for server in &self.servers {
            if !all && !server.down.load(Ordering::Relaxed) {
                continue;
            }
            // All addresses of a name count, not only the one that is reached.
            let known = timeout(self.config.connect_timeout, lookup_host(&server.name)).await;
            if let Ok(Ok(known)) = known {
                self.note_addresses(known.map(|address| address.ip()));
            }
            if let Ok((stream, _)) = self.try_server(server, hostname, None).await {
                stream.say_at_once(b"QUIT\r\n");
            }
        }
    }

    async fn try_server(
        &self,
        server: &Server,
        hostname: &str,
        client: Option<&ClientFacts>,
    ) -> Result<(Stream, Capabilities), Failed> {
        let mut result = self.attempt(server, hostname, client).await;
        if let Err(Failed::Doubtful(_)) = result {
            // A connection of our own shows whether it is the server's fault: one client must not
            // take the server from the others.
            match self.attempt(server, hostname, None).await {
                Ok((stream, _)) => stream.say_at_once(b"QUIT\r\n"),
                failed => result = failed,
            }
        }
        let name = &*self.config.name;
        match &result {
            Ok((_, capabilities)) => {
                *self.capabilities.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(*capabilities);
                if server.down.swap(false, Ordering::Relaxed) {
                    tracing::info!(backend = name, server = server.name, "is up again");
                }
            }
            Err(Failed::Refused(_) | Failed::Doubtful(_)) => {}
            Err(Failed::Down(error) | Failed::Unfit(error) | Failed::Tls(error)) => {
                server.error.lock().unwrap_or_else(PoisonError::into_inner).clone_from(error);
                if !server.down.swap(true, Ordering::Relaxed) {
                    tracing::warn!(backend = name, server = server.name, "is down: {error}");
                }
            }
        }
        result
    }

    /// Runs a dialogue, and if TLS fails and is not required, another without it (RFC 7435).
    async fn attempt(
        &self,
        server: &Server,
        hostname: &str,
        client: Option<&ClientFacts>,
    ) -> Result<(Stream, Capabilities), Failed> {
        let with_tls = self.tls.is_some();
        let result = self.dialogue(server, hostname, client, with_tls).await;
        let Err(Failed::Tls(error)) = &result else {
            if result.is_ok() {
                self.note_plain(server, None);
            }
            return result;
        };
        if self.config.tls != BackendTls::Opportunistic {
            return result;
        }
        self.note_plain(server, Some(error));
        self.dialogue(server, hostname, client, false).await
    }

    /// Notes whether mail goes without TLS although it is offered, and logs when that changes:
    /// encryption must not be lost silently.
    fn note_plain(&self, server: &Server, why: Option<&str>) {
        let mut plain = server.plain.lock().unwrap_or_else(PoisonError::into_inner);
        let (backend, name) = (&*self.config.name, &*server.name);
        match (&*plain, why) {
            (None, Some(why)) => {
                tracing::warn!(backend, server = name, "{why}; its mail continues in plain text");
            }
            (Some(_), None) => tracing::info!(backend, server = name, "TLS works again"),
            _ => {}
        }
        *plain = why.map(str::to_owned);
    }

    /// Logs once that a server does not accept a client's address, and what to do.
    fn note_unaddressed(&self, server: &Server, address: IpAddr) {
        if !server.unaddressed.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                backend = &*self.config.name,
                server = server.name,
                "does not accept the client address {} by XCLIENT: it does not know such \
                 clients (for Postfix, set inet_protocols = all)",
                address.to_canonical(),
            );
        }
    }

    async fn dialogue(
        &self,
        server: &Server,
        hostname: &str,
        client: Option<&ClientFacts>,
        with_tls: bool,
    ) -> Result<(Stream, Capabilities), Failed> {
        let stream = connect(&server.name, self.config.connect_timeout).await?;
        if let Stream::Plain(plain) = &stream {
            self.note_addresses(plain.peer_addr().map(|address| address.ip()));
        }
        let time = self.config.reply_timeout;
        let header = self.proxy_header(client, &stream)?;
        let mut talk = Talk { stream, replies: Replies::default(), time, for_client: false };
        if let Some(header) = &header {
            talk.for_client = client.is_some();
            talk.send(header).await?;
        }
        talk.expect(220, "greeting").await?;
        let helo = match client {
            Some(client) if header.is_some() && !client.helo.is_empty() => &client.helo,
            _ => hostname,
        };
        let mut offers = talk.ehlo(helo).await?;
        if with_tls {
            if has(&offers, "STARTTLS") {
                talk = self.start_tls(talk, &server.name).await?;
                // A failed handshake may be reported only now (RFC 8446 section 4.4.2.4).
                offers = match talk.ehlo(helo).await {
                    Err(failed @ (Failed::Down(_) | Failed::Doubtful(_))) => {
                        return Err(failed.at_tls());
                    }
                    offers => offers?,
                };
            } else if self.config.tls == BackendTls::Verified {
                return Err(Failed::Unfit("offers no STARTTLS, and TLS is to be verified".into()));
            }
        }
        if self.config.client_address == ClientAddress::Xclient {
            if !has(&offers, "XCLIENT") {
                let text = "offers no XCLIENT: see smtpd_authorized_xclient_hosts of Postfix";
                return Err(Failed::Unfit(text.to_owned()));
            }
            if let Some(client) = client {
                let named = keyword(&offers, "XCLIENT").unwrap_or_default();
                let withheld = talk.introduce(client, named).await?;
                if withheld.contains(&"ADDR") {
                    self.note_unaddressed(server, client.address.ip());
                }
                // For the server the peer is the client now, which gives its own name.
                let helo = if client.helo.is_empty() { hostname } else { &client.helo };
                offers = talk.ehlo(helo).await?;
            }
        }
        Ok((talk.stream, capabilities(&offers)))
    }

    /// The PROXY header of a connection, if it has one.
    fn proxy_header(
        &self,
        client: Option<&ClientFacts>,
        stream: &Stream,
    ) -> Result<Option<Vec<u8>>, Failed> {
        let addresses = client.map(|client| (client.address, client.local));
        let header = match self.config.client_address {
            ClientAddress::None | ClientAddress::Xclient => return Ok(None),
            ClientAddress::Proxy => proxy::version_2(addresses),
            // Not every implementation supports UNKNOWN: a connection of our own has our addresses.
            ClientAddress::ProxyV1 => addresses
                .or_else(|| stream.addresses())
                .map(|(source, target)| proxy::version_1(source, target)),
        };
        header.map(Some).ok_or_else(|| down("no PROXY header".to_owned()))
    }

    async fn start_tls(&self, mut talk: Talk, server: &str) -> Result<Talk, Failed> {
        talk.command("STARTTLS", 220).await.map_err(Failed::at_tls)?;
        let failed = |error: String| Failed::Tls(format!("TLS: {error}"));
        let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|error| failed(error.to_string()))?;
        let Talk { stream, time, for_client, .. } = talk;
        let (Some(config), Some(plain)) = (self.tls.clone(), stream.into_plain()) else {
            return Err(failed("twice".to_owned()));
        };
        let handshake = TlsConnector::from(config).connect(name, plain);
        let stream = match timeout(time, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed("timed out".to_owned())),
        };
        let stream = Stream::Tls(Box::new(stream.into()));
        Ok(Talk { stream, replies: Replies::default(), time, for_client })
    }
}

/// The parameters of a keyword in a reply to EHLO.
fn keyword<'a>(offers: &'a [String], name: &str) -> Option<&'a str> {
    let of_line = |line: &'a String| {
        let (keyword, rest) = line.split_once(' ').unwrap_or((line, ""));
        keyword.eq_ignore_ascii_case(name).then_some(rest)
    };
    offers.iter().skip(1).find_map(of_line)
}

fn has(offers: &[String], name: &str) -> bool {
    keyword(offers, name).is_some()
}

fn capabilities(offers: &[String]) -> Capabilities {
    // Without a number, or with zero, there is no limit (RFC 1870 section 4).
    let size = keyword(offers, "SIZE")
        .map(|text| text.trim().parse().ok().filter(|size| *size > 0).unwrap_or(u64::MAX));
    Capabilities {
        extensions: Extensions {
            eight_bit: has(offers, "8BITMIME"),
            smtputf8: has(offers, "SMTPUTF8"),
            dsn: has(offers, "DSN"),
            size,
        },
        pipelining: has(offers, "PIPELINING"),
    }
}
