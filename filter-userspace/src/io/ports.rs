//! TCP ports: which process listens on one that cannot be opened.

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::OnceLock;

use tokio::net::TcpSocket;

use crate::text::escape_untrusted;

/// The state of a listening socket in /proc/net/tcp.
const LISTENING: &str = "0A";

/// The maximum number of bytes of /proc/net/tcp that are read.
const TABLE: u64 = 16 * 1024 * 1024;

/// The state of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// It is free.
    Free,
    /// mxdp uses it: which process.
    Ours(String),
    /// It cannot be opened, and why.
    Taken(String),
}

/// Why a port cannot be opened.
#[derive(Debug)]
pub struct CannotListen {
    /// The key of the configuration that names it.
    key: &'static str,
    address: SocketAddr,
    error: io::Error,
    /// The process that listens there, if it can be found.
    holder: Option<Process>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    id: u32,
    name: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name } = self;
        write!(f, "{name} (pid {id})")
    }
}

impl CannotListen {
    /// The error of binding or listening, with the process that uses the port.
    #[must_use]
    pub fn new(key: &'static str, address: SocketAddr, error: io::Error) -> Self {
        let holder = is_in_use(&error).then(|| holder(address).or_else(|| remembered(address)));
        let holder = holder.flatten();
        Self { key, address, error, holder }
    }

    /// Whether another process uses the port, so that a second attempt would fail too.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        is_in_use(&self.error)
    }
}

impl fmt::Display for CannotListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, address, error, holder } = self;
        write!(f, "{key}: cannot listen on {address}: ")?;
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                match holder {
                    Some(process) => write!(f, "{process} listens there")?,
                    None => write!(f, "another process listens there (see `ss -ltnp`)")?,
                }
                write!(
                    f,
                    "; a mail system on this host needs another address, as in README, section \
                     \"In front of Postfix\""
                )
            }
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "no interface of this host has this address (see `ip address`)")
            }
            io::ErrorKind::PermissionDenied => write!(f, "ports below 1024 need root"),
            _ => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for CannotListen {}

fn is_in_use(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// Whether an address can be listened on: opens the port, and closes it at once.
#[must_use]
pub fn look_at(address: SocketAddr) -> Port {
    let Err(error) = attempt(address) else { return Port::Free };
    if is_in_use(&error)
        && let Some(process) = holder(address)
        && process.name == "mxdp"
    {
        return Port::Ours(format!("pid {}", process.id));
    }
    let text = CannotListen::new("", address, error).to_string();
    Port::Taken(text.trim_start_matches(": ").to_owned())
}

fn attempt(address: SocketAddr) -> io::Result<()> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // Two sockets may be bound to one address; only one can listen.
    socket.listen(1).map(drop)
}

/// The listening processes, looked up while this process had the privilege.
static HOLDERS: OnceLock<Vec<(SocketAddr, Process)>> = OnceLock::new();

/// Looks up which processes listen on these addresses, before the privilege for it is given up.
pub fn remember_holders(addresses: &[SocketAddr]) {
    let held = addresses.iter().filter_map(|address| Some((*address, holder(*address)?)));
    // Once is enough: a daemon only listens when it starts.
    _ = HOLDERS.set(held.collect());
}

fn remembered(address: SocketAddr) -> Option<Process> {
    let held = HOLDERS.get()?.iter().find(|(known, _)| *known == address);
    held.map(|(_, process)| process.clone())
}

/// The process that listens on an address, or on one that includes it.
fn holder(address: SocketAddr) -> Option<Process> {
    let inodes = listening(address);
    if inodes.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?;
    for process in processes.flatten() {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let mut held = descriptors.flatten().filter_map(|one| {
            let target = fs::read_link(one.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            inode.parse::<u64>().ok()
        });
        if held.any(|inode| inodes.contains(&inode)) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let name = escape_untrusted(name.trim(), |_| false).into_owned();
            return Some(Process { id, name });
        }
    }
    None
}

/// The inodes of the sockets that listen where `address` would.
fn listening(address: SocketAddr) -> Vec<u64> {
    let mut inodes = Vec::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let mut text = String::new();
        let read = fs::File::open(Path::new(table));
        if read.and_then(|file| file.take(TABLE).read_to_string(&mut text)).is_err() {
            continue;
        }
        inodes.extend(text.lines().skip(1).filter_map(|line| {
            let (local, inode) = listener(line)?;
            covers(local, address).then_some(inode)
        }));
    }
    inodes
}

/// The address and inode of a listening socket of /proc/net/tcp (proc_net_tcp.txt).
fn listener(line: &str) -> Option<(SocketAddr, u64)> {
    let words: Vec<_> = line.split_whitespace().collect();
    let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
    if *state != LISTENING {
        return None;
    }
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok();
    // Each word in the byte order of memory.
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?.to_ne_bytes()).into(),
        32 => {
            let mut bytes = [0; 16];
            for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?.to_ne_bytes());
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some((SocketAddr::new(ip, port), inode.parse().ok()?))
}

fn covers(held: SocketAddr, wanted: SocketAddr) -> bool {
    // A socket on `::` may accept IPv4 too.
    held.port() == wanted.port()
        && (held.ip().to_canonical() == wanted.ip().to_canonical()
            || held.ip().is_unspecified()
            || wanted.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_process_that_has_a_port_is_named() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            let held = TcpListener::bind(address).expect(address);
            let address = held.local_addr().expect("an address");
            let own = holder(address).expect("this process");
            assert_eq!(own.id, std::process::id());
            let Port::Taken(why) = look_at(address) else { panic!("{address} is taken") };
            assert!(why.contains(&format!("(pid {})", own.id)), "{why}");
            assert!(why.contains("In front of Postfix"), "{why}");
            drop(held);
            assert_eq!(look_at(address), Port::Free);
        }
    }

    #[tokio::test]
    async fn an_address_that_no_interface_has_is_said_so() {
        let Port::Taken(why) = look_at("192.0.2.1:25".parse().unwrap()) else { panic!("free") };
        assert!(why.contains("no interface of this host has this address"), "{why}");
    }

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line = "   0: 0100007F:1F59 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 21041 1 x";
        assert_eq!(listener(line), Some(("127.0.0.1:8025".parse().unwrap(), 21_041)));
        assert_eq!(listener(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(listener("sl"), None);
    }
}
