//! A relay in front of real name servers that passes queries on, counts them, and
//! does wrong where it is told to.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::netns::Namespace;

/// Its fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No answer.
    Drop,
    /// The answer comes late.
    Delay(Duration),
    /// This code, and nothing else: 2 is SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    Code(u8),
    /// Over UDP, only that the answer is too long.
    Truncate,
    /// Bytes that are not an answer.
    Garbage,
    /// The answer to another question's number.
    WrongId,
    /// This address, for every query.
    Address(Ipv4Addr),
}

/// What a fault is for.
#[derive(Clone, Debug)]
struct Rule {
    name: String,
    /// Whether names below are meant as well.
    below: bool,
    kind: Option<u16>,
    fault: Fault,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    asked: HashMap<(String, u16), u64>,
    over_tcp: u64,
}

/// A relay on a port of 127.0.0.1, ended when dropped.
pub struct DnsRelay {
    state: Arc<Mutex<State>>,
    ended: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl DnsRelay {
    /// Starts it. Each upstream is the end of names and the port of the server that
    /// is asked about them; the longest end counts, and "" is for the rest.
    #[must_use]
    pub fn start(namespace: &Namespace, port: u16, upstreams: &[(&str, u16)]) -> Self {
        Self::start_at(namespace, Ipv4Addr::LOCALHOST, port, upstreams)
    }

    /// The same, on another address.
    #[must_use]
    pub fn start_at(
        namespace: &Namespace,
        address: Ipv4Addr,
        port: u16,
        upstreams: &[(&str, u16)],
    ) -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let ended: Arc<AtomicBool> = Arc::default();
        let mut upstreams: Vec<_> =
            upstreams.iter().map(|(end, port)| ((*end).to_owned(), *port)).collect();
        upstreams.sort_by_key(|(end, _)| std::cmp::Reverse(end.len()));
        let relay = Arc::new(Relay { state: state.clone(), upstreams, ended: ended.clone() });
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = namespace.spawn(move || {
            let address = SocketAddr::from((address, port));
            let udp = UdpSocket::bind(address).expect("the relay's socket");
            let tcp = TcpListener::bind(address).expect("the relay's socket");
            ready.send(()).expect("the test waits");
            let other = relay.clone();
            // Threads of this thread are in its namespace.
            let streams = thread::spawn(move || other.serve_tcp(&tcp));
            relay.serve_udp(&udp);
            _ = streams.join();
        });
        is_ready.recv().expect("the relay starts");
        Self { state, ended, thread: Some(thread) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Does wrong for a name, and with `below` for all below it, from now on.
    pub fn fault(&self, name: &str, below: bool, kind: Option<u16>, fault: Fault) {
        let name = name.trim_end_matches('.').to_lowercase();
        self.state().rules.insert(0, Rule { name, below, kind, fault });
    }

    /// Does everything right again.
    pub fn mend(&self) {
        self.state().rules.clear();
    }

    /// How often a question came.
    #[must_use]
    pub fn asked(&self, name: &str, kind: u16) -> u64 {
        self.state().asked.get(&(name.to_lowercase(), kind)).copied().unwrap_or(0)
    }

    /// How many questions came, over TCP.
    #[must_use]
    pub fn over_tcp(&self) -> u64 {
        self.state().over_tcp
    }

    /// Every question that came.
    #[must_use]
    pub fn questions(&self) -> Vec<(String, u16)> {
        self.state().asked.keys().cloned().collect()
    }
}

impl Drop for DnsRelay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

struct Relay {
    state: Arc<Mutex<State>>,
    upstreams: Vec<(String, u16)>,
    ended: Arc<AtomicBool>,
}

/// The interval at which the relay checks whether to end.
const LOOK: Duration = Duration::from_millis(50);

impl Relay {
    fn serve_udp(self: &Arc<Self>, socket: &UdpSocket) {
        socket.set_read_timeout(Some(LOOK)).expect("a time-out");
        while !self.ended.load(Ordering::Relaxed) {
            let mut query = [0; 4096];
            let Ok((length, client)) = socket.recv_from(&mut query) else { continue };
            let (query, relay) = (query[..length].to_vec(), self.clone());
            let socket = socket.try_clone().expect("a socket");
            thread::spawn(move || {
                if let Some(answer) = relay.answer(&query, false) {
                    _ = socket.send_to(&answer, client);
                }
            });
        }
    }

    fn serve_tcp(self: &Arc<Self>, listener: &TcpListener) {
        listener.set_nonblocking(true).expect("no waiting");
        while !self.ended.load(Ordering::Relaxed) {
            let Ok((stream, _)) = listener.accept() else {
                thread::sleep(LOOK);
                continue;
            };
            let relay = self.clone();
            thread::spawn(move || relay.serve_stream(stream));
        }
    }

    fn serve_stream(&self, mut stream: TcpStream) {
        stream.set_nonblocking(false).expect("waiting");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
        loop {
            let mut length = [0; 2];
            if stream.read_exact(&mut length).is_err() {
                return;
            }
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut query).is_err() {
                return;
            }
            self.state.lock().expect("not poisoned").over_tcp += 1;
            let Some(answer) = self.answer(&query, true) else { continue };
            let length = u16::try_from(answer.len()).expect("a message's length");
            _ = stream.write_all(&length.to_be_bytes()).and_then(|()| stream.write_all(&answer));
        }
    }

    fn answer(&self, query: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let (name, kind, end) = read_question(query)?;
        let fault = {
            let mut state = self.state.lock().expect("not poisoned");
            *state.asked.entry((name.clone(), kind)).or_default() += 1;
            let matches = |rule: &&Rule| {
                let below = rule.below
                    && (rule.name.is_empty() || name.ends_with(&format!(".{}", rule.name)));
                (name == rule.name || below) && rule.kind.is_none_or(|wanted| wanted == kind)
            };
            state.rules.iter().find(matches).map(|rule| rule.fault.clone())
        };
        match fault {
            Some(Fault::Drop) => None,
            Some(Fault::Delay(time)) => {
                thread::sleep(time);
                self.ask_upstream(&name, query, tcp)
            }
            Some(Fault::Code(code)) => Some(reply(query, end, code, &[])),
            Some(Fault::Truncate) if !tcp => {
                let mut answer = reply(query, end, 0, &[]);
                answer[2] |= 2;
                Some(answer)
            }
            Some(Fault::Garbage) => Some(vec![0xff; 40]),
            Some(Fault::WrongId) => {
                let mut answer = self.ask_upstream(&name, query, tcp)?;
                answer[0] ^= 0x55;
                Some(answer)
            }
            Some(Fault::Address(address)) => Some(reply(query, end, 0, &address.octets())),
            Some(Fault::Truncate) | None => self.ask_upstream(&name, query, tcp),
        }
    }

    fn ask_upstream(&self, name: &str, query: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let is_for =
            |end: &str| end.is_empty() || name == end || name.ends_with(&format!(".{end}"));
        let (_, port) = self.upstreams.iter().find(|(end, _)| is_for(end))?;
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
        // rbldnsd speaks UDP only.
        if tcp && let Ok(mut stream) = TcpStream::connect(server) {
            let length = u16::try_from(query.len()).ok()?;
            stream.write_all(&length.to_be_bytes()).ok()?;
            stream.write_all(query).ok()?;
            let mut length = [0; 2];
            stream.read_exact(&mut length).ok()?;
            let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut answer).ok()?;
            return Some(answer);
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        socket.send_to(query, server).ok()?;
        let mut answer = [0; 65535];
        let length = socket.recv(&mut answer).ok()?;
        Some(answer[..length].to_vec())
    }
}

/// The name, the type and the end of a question.
fn read_question(query: &[u8]) -> Option<(String, u16, usize)> {
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    Some((labels.join("."), kind, at + 4))
}

/// A reply of the relay's own: the question, and an address where one is given.
fn reply(query: &[u8], end: usize, code: u8, address: &[u8]) -> Vec<u8> {
    let mut answer = query[..end].to_vec();
    answer[2] = 0x84 | (query[2] & 1);
    answer[3] = 0x80 | code;
    answer[6..12].fill(0);
    if !address.is_empty() {
        answer[7] = 1;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address);
    }
    answer
}
