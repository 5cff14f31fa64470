//! The name server of everybody: of the well-behaved client, of a DNS list, and of the
//! attacker, whose zones are made to be dear.
//!
//! No public server makes such answers on demand, so this one is written here.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mxdp_tests::netns::Namespace;

const ADDRESS: &str = "127.0.0.1:53";
const A: u16 = 1;
const TXT: u16 = 16;
const DAY: u32 = 86_400;

/// A name server of a namespace. Its threads end with the process.
pub(crate) struct NameServer;

impl NameServer {
    /// Starts it on 127.0.0.1, port 53, over UDP and TCP.
    pub(crate) fn start(namespace: &Namespace) -> Result<Self> {
        let (ready, is_ready) = mpsc::channel();
        _ = namespace.spawn(move || {
            let bound =
                UdpSocket::bind(ADDRESS).and_then(|udp| Ok((udp, TcpListener::bind(ADDRESS)?)));
            let (udp, tcp) = match bound {
                Ok(sockets) => sockets,
                Err(error) => {
                    _ = ready.send(Err(error));
                    return;
                }
            };
            _ = ready.send(Ok(()));
            thread::spawn(move || {
                for stream in tcp.incoming().flatten() {
                    thread::spawn(move || serve(stream));
                }
            });
            let mut question = [0; 512];
            while let Ok((length, client)) = udp.recv_from(&mut question) {
                if let Some(reply) = answer(&question[..length], 1232) {
                    _ = udp.send_to(&reply, client);
                }
            }
        });
        is_ready.recv().context("the name server ended")?.context("the name server's sockets")?;
        Ok(Self)
    }
}

fn serve(mut stream: TcpStream) {
    _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut question).is_err() {
            return;
        }
        let Some(reply) = answer(&question, usize::from(u16::MAX)) else { continue };
        let length = u16::try_from(reply.len()).unwrap_or(u16::MAX).to_be_bytes();
        if stream.write_all(&length).is_err() || stream.write_all(&reply).is_err() {
            return;
        }
    }
}

/// The reply to a question, cut short where it is longer than `most`; nothing for names
/// that are never answered.
fn answer(question: &[u8], most: usize) -> Option<Vec<u8>> {
    let (name, kind, end) = asked(question)?;
    if name.ends_with(".slow.example") {
        return None;
    }
    let records = records(&name, kind);
    let code = if records.is_some() { 0 } else { 3 };
    let records = records.unwrap_or_default();
    let mut reply = question[..end].to_vec();
    reply[2..4].copy_from_slice(&[0x84, code]);
    reply[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    let head = reply.len();
    for data in &records {
        reply.extend([0xc0, 12]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1]);
        reply.extend(DAY.to_be_bytes());
        reply.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        reply.extend(data);
    }
    if reply.len() > most {
        reply.truncate(head);
        reply[2] |= 2;
    } else {
        reply[6..8].copy_from_slice(&u16::try_from(records.len()).ok()?.to_be_bytes());
    }
    Some(reply)
}

/// The name and type of the query, and where the question ends.
fn asked(message: &[u8]) -> Option<(String, u16, usize)> {
    let (mut name, mut at) = (String::new(), 12);
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = message.get(at..at + length)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]);
    Some((name, kind, at + 4))
}

/// The data of the records; nothing where the name does not exist.
fn records(name: &str, kind: u16) -> Option<Vec<Vec<u8>>> {
    let txt = |text: &str| {
        let strings = text.as_bytes().chunks(255);
        strings.fold(Vec::new(), |mut data, part| {
            data.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
            data.extend(part);
            data
        })
    };
    match (name, kind) {
        ("victim.example", TXT) => Some(vec![txt("v=spf1 ip4:192.0.2.7 -all")]),
        ("2.0.0.127.bl.example", A) => Some(vec![vec![127, 0, 0, 2]]),
        (name, TXT) if name.ends_with(".big.example") => {
            // 60 KB that no evaluation needs, beside a record that asks for ten more.
            let padding = std::iter::repeat_n(txt(&"x".repeat(2000)), 30);
            Some(std::iter::once(txt(&big(name))).chain(padding).collect())
        }
        (name, TXT) if name.ends_with(".deep.example") => Some(vec![txt(&deep(name))]),
        _ if name.ends_with(".example") && !name.ends_with("bl.example") => Some(Vec::new()),
        _ => None,
    }
}

/// `dN.big.example` includes `i0.dN.big.example` and nine more.
fn big(name: &str) -> String {
    if name.starts_with('i') {
        return "v=spf1 ip4:203.0.113.1 ?all".to_owned();
    }
    let mut record = "v=spf1".to_owned();
    for number in 0..10 {
        _ = write!(record, " include:i{number}.{name}");
    }
    record + " ?all"
}

/// `dN.deep.example`, `n1.dN.deep.example` and so on: 990 networks, and the next one.
fn deep(name: &str) -> String {
    let (level, rest) = match name.strip_prefix('n').and_then(|name| name.split_once('.')) {
        Some((level, rest)) => (level.parse().unwrap_or(9), rest),
        None => (0, name),
    };
    let mut record = "v=spf1".to_owned();
    for number in 0..990 {
        _ = write!(record, " ip4:100.{level}.{}.{}", number / 250, number % 250);
    }
    if level < 9 {
        _ = write!(record, " include:n{}.{rest}", level + 1);
    }
    record + " ?all"
}
