//! Backends: pools of servers, their health, and the dialogue up to EHLO.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ppp::v2;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::stream::Stream;
use super::tls;
use crate::config::smtp::{Backend, BackendTls, ClientAddress};
use crate::smtp::reply::{Replies, Reply};
use crate::smtp::session::{BackendTimes, Capabilities, Extensions, OpenFailure, Opened};

/// How often servers that are down are looked at.
pub(super) const PROBE: Duration = Duration::from_secs(10);

/// Every so many times, those that are up are looked at too.
pub(super) const PROBE_ALL: u32 = 6;

/// The client, as a backend may learn of it.
#[derive(Clone, Debug)]
pub(super) struct ClientFacts {
    pub(super) address: SocketAddr,
    /// Where it connected to.
    pub(super) local: SocketAddr,
    pub(super) helo: String,
    pub(super) extended: bool,
}

/// The servers of a backend.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) config: Backend,
    tls: Option<Arc<rustls::ClientConfig>>,
    servers: Vec<Server>,
    capabilities: Mutex<Option<Capabilities>>,
    /// Where servers were reached lately, the latest last.
    addresses: Mutex<Vec<IpAddr>>,
}

/// The addresses of a backend that are known at once.
const ADDRESSES: usize = 64;

#[derive(Debug)]
struct Server {
    name: String,
    down: AtomicBool,
    error: Mutex<String>,
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
}

/// Why a dialogue did not come to its end.
#[derive(Debug)]
enum Failed {
    /// The server does not answer as it should.
    Down(String),
    /// It answers, and lacks what the configuration asks for.
    Unfit(String),
    /// It knows the client, and refuses it: that says nothing of the server.
    Refused(Reply),
    /// TLS did not come about: without it, it might.
    Tls(String),
}

impl Pool {
    pub(super) fn new(config: Backend) -> Result<Self, String> {
        let server = |name: &String| Server {
            name: name.clone(),
            down: AtomicBool::new(false),
            error: Mutex::default(),
        };
        Ok(Self {
            tls: tls::towards(&config)?,
            servers: config.servers.iter().map(server).collect(),
            capabilities: Mutex::default(),
            addresses: Mutex::default(),
            config,
        })
    }

    /// Where servers were reached lately.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of where servers were reached.
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

    /// What the servers offer, as far as one has answered.
    pub(super) fn capabilities(&self) -> Option<Capabilities> {
        *self.capabilities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn health(&self) -> Vec<ServerHealth> {
        let health = |server: &Server| ServerHealth {
            backend: self.config.name.to_string(),
            server: server.name.clone(),
            error: server
                .down
                .load(Ordering::Relaxed)
                .then(|| server.error.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        };
        self.servers.iter().map(health).collect()
    }

    /// Opens a connection for a client: to the first server that is up, else to
    /// whichever answers.
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
                // 421 may be about the server: the next one may say otherwise.
                Err(Failed::Refused(reply)) if reply.code == 421 => {
                    failure = OpenFailure::Refused(reply);
                }
                Err(Failed::Refused(reply)) => return Err(OpenFailure::Refused(reply)),
                Err(Failed::Unfit(_)) => failure = OpenFailure::Unfit,
                Err(Failed::Down(_) | Failed::Tls(_)) => {}
            }
        }
        Err(failure)
    }

    /// Looks at the servers that are down, or at all, and remembers how they are.
    pub(super) async fn probe(&self, hostname: &str, all: bool) {
        for server in &self.servers {
            if !all && !server.down.load(Ordering::Relaxed) {
                continue;
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
        let with_tls = self.tls.is_some();
        let mut result = self.dialogue(&server.name, hostname, client, with_tls).await;
        if let Err(Failed::Tls(error)) = &result
            && self.config.tls == BackendTls::Opportunistic
        {
            tracing::debug!(server = server.name, error, "TLS failed; going on without");
            result = self.dialogue(&server.name, hostname, client, false).await;
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
            Err(Failed::Refused(_)) => {}
            Err(Failed::Down(error) | Failed::Unfit(error) | Failed::Tls(error)) => {
                server.error.lock().unwrap_or_else(PoisonError::into_inner).clone_from(error);
                if !server.down.swap(true, Ordering::Relaxed) {
                    tracing::warn!(backend = name, server = server.name, "is down: {error}");
                }
            }
        }
        result
    }

    async fn dialogue(
        &self,
        server: &str,
        hostname: &str,
        client: Option<&ClientFacts>,
        with_tls: bool,
    ) -> Result<(Stream, Capabilities), Failed> {
        let stream = connect(server, self.config.connect_timeout).await?;
        if let Stream::Plain(plain) = &stream {
            self.note_addresses(plain.peer_addr().map(|address| address.ip()));
        }
        let time = self.config.reply_timeout;
        let mut talk = Talk { stream, replies: Replies::default(), time, for_client: false };
        if self.config.client_address == ClientAddress::Proxy {
            let header = proxy_header(client).ok_or_else(|| down("no PROXY header".to_owned()))?;
            talk.send(&header).await?;
            talk.for_client = client.is_some();
        }
        talk.expect(220, "greeting").await?;
        let helo = match (client, self.config.client_address) {
            (Some(client), ClientAddress::Proxy) if !client.helo.is_empty() => &client.helo,
            _ => hostname,
        };
        let mut offers = talk.ehlo(helo).await?;
        if with_tls {
            if has(&offers, "STARTTLS") {
                talk.command("STARTTLS", 220).await?;
                talk = self.start_tls(talk, server).await?;
                offers = talk.ehlo(helo).await?;
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
                talk.command(&xclient(client, &offers), 220).await?;
                talk.for_client = true;
                // The client is the other side's peer now, and says its own name.
                let helo = if client.helo.is_empty() { hostname } else { &client.helo };
                offers = talk.ehlo(helo).await?;
            }
        }
        Ok((talk.stream, capabilities(&offers)))
    }

    async fn start_tls(&self, talk: Talk, server: &str) -> Result<Talk, Failed> {
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

async fn connect(server: &str, time: Duration) -> Result<Stream, Failed> {
    let stream = match timeout(time, TcpStream::connect(server)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(down(format!("cannot connect: {error}"))),
        Err(_) => return Err(down(format!("no connection within {} s", time.as_secs()))),
    };
    _ = stream.set_nodelay(true);
    Ok(Stream::Plain(stream))
}

fn down(text: String) -> Failed {
    Failed::Down(text)
}

/// A dialogue, one command at a time.
struct Talk {
    stream: Stream,
    replies: Replies,
    time: Duration,
    /// Whether the server has been told who the client is.
    for_client: bool,
}

impl Talk {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        match timeout(self.time, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(down(format!("cannot write: {error}"))),
            Err(_) => Err(down("takes nothing".to_owned())),
        }
    }

    async fn reply(&mut self) -> Result<Reply, Failed> {
        let read = async {
            let mut buffer = [0; 4096];
            loop {
                match self.replies.take() {
                    Ok(Some(reply)) => return Ok(reply),
                    Ok(None) => {}
                    Err(_) => return Err(down("what it says is no SMTP".to_owned())),
                }
                match self.stream.read(&mut buffer).await {
                    Ok(0) => return Err(down("closes the connection".to_owned())),
                    Ok(count) => self.replies.push(&buffer[..count]),
                    Err(error) => return Err(down(format!("cannot read: {error}"))),
                }
            }
        };
        timeout(self.time, read).await.unwrap_or_else(|_| Err(down("does not answer".to_owned())))
    }

    async fn expect(&mut self, code: u16, step: &str) -> Result<Reply, Failed> {
        let reply = self.reply().await?;
        if reply.code == code && self.replies.is_empty() {
            Ok(reply)
        } else if self.for_client && reply.code >= 400 {
            Err(Failed::Refused(reply))
        } else {
            Err(down(format!("{step}: {} {}", reply.code, reply.text())))
        }
    }

    async fn command(&mut self, line: &str, code: u16) -> Result<Reply, Failed> {
        self.send(format!("{line}\r\n").as_bytes()).await?;
        let verb = line.split(' ').next().unwrap_or(line);
        self.expect(code, verb).await
    }

    /// The lines of its reply to EHLO.
    async fn ehlo(&mut self, name: &str) -> Result<Vec<String>, Failed> {
        Ok(self.command(&format!("EHLO {name}"), 250).await?.lines)
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
    // No number, or zero, is no limit (RFC 1870 section 4).
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

/// Postfix's XCLIENT: the attributes that the server names, as xtext.
fn xclient(client: &ClientFacts, offers: &[String]) -> String {
    let named = keyword(offers, "XCLIENT").unwrap_or_default();
    let address = match client.address.ip().to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("IPV6:{address}"),
    };
    let helo =
        if client.helo.is_empty() { "[UNAVAILABLE]".to_owned() } else { xtext(&client.helo) };
    let attributes = [
        // Whoever looks names up, it is not this proxy.
        ("NAME", "[UNAVAILABLE]".to_owned()),
        ("ADDR", address),
        ("PORT", client.address.port().to_string()),
        ("HELO", helo),
        ("PROTO", if client.extended { "ESMTP" } else { "SMTP" }.to_owned()),
    ];
    let mut line = "XCLIENT".to_owned();
    for (name, value) in attributes {
        if named.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case(name)) {
            line.push_str(&format!(" {name}={value}"));
        }
    }
    line
}

/// RFC 3461 section 4.
fn xtext(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"+=[]".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("+{byte:02X}"));
        }
    }
    encoded
}

/// Of a client, or that this is a connection of our own.
fn proxy_header(client: Option<&ClientFacts>) -> Option<Vec<u8>> {
    let Some(client) = client else {
        let command = v2::Version::Two | v2::Command::Local;
        let none = v2::Addresses::Unspecified;
        return v2::Builder::with_addresses(command, v2::Protocol::Unspecified, none).build().ok();
    };
    let (source, target) =
        match (client.address.ip().to_canonical(), client.local.ip().to_canonical()) {
            (IpAddr::V4(source), IpAddr::V4(target)) => (IpAddr::V4(source), IpAddr::V4(target)),
            (source, target) => (IpAddr::V6(mapped(source)), IpAddr::V6(mapped(target))),
        };
    let source = SocketAddr::new(source, client.address.port());
    let target = SocketAddr::new(target, client.local.port());
    let command = v2::Version::Two | v2::Command::Proxy;
    v2::Builder::with_addresses(command, v2::Protocol::Stream, (source, target)).build().ok()
}

fn mapped(address: IpAddr) -> std::net::Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}
