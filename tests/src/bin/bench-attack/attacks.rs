//! The attacks, from one address and for a given time.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use mxdp_tests::netns::connect;

/// Where SMTP is served.
pub(crate) const SMTP: &str = "192.0.2.1:25";
/// Where the console is, off loopback.
pub(crate) const CONSOLE: &str = "192.0.2.1:8025";
/// The attacker.
pub(crate) const ATTACKER_ADDRESS: &str = "192.0.2.66";

/// An attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Recipients of transactions that come to nothing, to fill the mail log.
    Aborted,
    /// Connections to the console that never read.
    Unread,
    /// Senders whose records are large and last a day.
    LargeRecords,
    /// Senders whose records take long to evaluate.
    DeepRecords,
    /// Senders whose name servers never answer.
    SlowNames,
    /// Recipients of other domains.
    Relay,
    /// A chunk that is announced and never comes.
    Silence,
    /// All of these at once.
    Mixture,
}

impl Case {
    /// In the order of the table.
    pub(crate) const ALL: [Self; 8] = [
        Self::Aborted,
        Self::Unread,
        Self::LargeRecords,
        Self::DeepRecords,
        Self::SlowNames,
        Self::Relay,
        Self::Silence,
        Self::Mixture,
    ];

    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::Unread => "unread",
            Self::LargeRecords => "large-records",
            Self::DeepRecords => "deep-records",
            Self::SlowNames => "slow-names",
            Self::Relay => "relay",
            Self::Silence => "silence",
            Self::Mixture => "mixture",
        }
    }

    /// Its name in the table.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Aborted => "transactions of 990 recipients, aborted",
            Self::Unread => "console connections that never read",
            Self::LargeRecords => "SPF: 60 KB records, ten includes",
            Self::DeepRecords => "SPF: ten nested records of 990 networks",
            Self::SlowNames => "SPF: name servers that never answer",
            Self::Relay => "995 denied recipients a session",
            Self::Silence => "BDAT of 50 MB, then silence",
            Self::Mixture => "all of these at once",
        }
    }

    /// The case of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|case| case.name() == name)
    }

    /// Attacks for so long.
    pub(crate) fn run(self, time: Duration) {
        let until = Instant::now() + time;
        thread::scope(|scope| {
            let spawn = |threads: usize, attack: fn(usize, Instant)| {
                for number in 0..threads {
                    scope.spawn(move || attack(number, until));
                }
            };
            match self {
                Self::Aborted => spawn(4, aborted),
                Self::Unread => spawn(1, unread),
                Self::LargeRecords => spawn(4, |number, until| senders("big", number, until)),
                Self::DeepRecords => spawn(4, |number, until| senders("deep", number, until)),
                Self::SlowNames => spawn(90, |number, until| senders("slow", number, until)),
                Self::Relay => spawn(4, relay),
                Self::Silence => spawn(1, silence),
                Self::Mixture => {
                    spawn(2, aborted);
                    spawn(1, unread);
                    spawn(2, |number, until| senders("big", number, until));
                    spawn(2, |number, until| senders("deep", number, until));
                    spawn(20, |number, until| senders("slow", number, until));
                    spawn(2, relay);
                    spawn(1, silence);
                }
            }
        });
    }
}

fn open(target: &str) -> Option<TcpStream> {
    let source: IpAddr = ATTACKER_ADDRESS.parse().expect("an address");
    let target: SocketAddr = target.parse().expect("an address and port");
    let socket = connect(source, target, Duration::from_secs(5)).ok();
    if socket.is_none() {
        // It is turned away by the kernel; a loop without a pause would measure nothing.
        thread::sleep(Duration::from_millis(10));
    }
    socket.map(TcpStream::from)
}

/// Reads and throws away until the end.
fn drain(mut stream: TcpStream) {
    let mut buffer = [0; 65_536];
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

/// Sends the same text in new sessions, as fast as it is accepted.
fn flood(text: &str, until: Instant) {
    while Instant::now() < until {
        let Some(mut stream) = open(SMTP) else { continue };
        _ = stream.set_write_timeout(Some(Duration::from_secs(5)));
        let Ok(reading) = stream.try_clone() else { continue };
        let reader = thread::spawn(move || drain(reading));
        if stream.write_all(b"EHLO attacker.example\r\n").is_ok() {
            while Instant::now() < until && stream.write_all(text.as_bytes()).is_ok() {}
        }
        _ = stream.shutdown(std::net::Shutdown::Both);
        _ = reader.join();
    }
}

fn aborted(_: usize, until: Instant) {
    let mut text = "MAIL FROM:<a@attacker.example>\r\n".to_owned();
    for number in 0..990 {
        _ = write!(text, "RCPT TO:<user{number}@open.example>\r\n");
    }
    flood(&(text + "RSET\r\n"), until);
}

fn relay(_: usize, until: Instant) {
    let mut text = "MAIL FROM:<a@attacker.example>\r\n".to_owned();
    for number in 0..995 {
        _ = write!(text, "RCPT TO:<user{number}@elsewhere.example>\r\n");
    }
    flood(&(text + "RSET\r\n"), until);
}

/// Keeps connections to the console full of requests whose answers are not read.
fn unread(_: usize, until: Instant) {
    const CONNECTIONS: usize = 300;
    let request = "GET / HTTP/1.1\r\nHost: 192.0.2.1:8025\r\n\r\n".repeat(64);
    let mut streams: Vec<TcpStream> = Vec::new();
    while Instant::now() < until {
        while streams.len() < CONNECTIONS && Instant::now() < until {
            let Some(stream) = open(CONSOLE) else { break };
            _ = stream.set_nonblocking(true);
            streams.push(stream);
        }
        streams.retain_mut(|stream| match stream.write(request.as_bytes()) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        thread::sleep(Duration::from_millis(5));
    }
}

/// One envelope after another, each with a domain that was never queried before.
fn senders(zone: &str, thread: usize, until: Instant) {
    let mut number = 0_u64;
    while Instant::now() < until {
        let Some(mut stream) = open(SMTP) else { continue };
        let said = |stream: &mut TcpStream, line: &str| -> Option<()> {
            stream.write_all(line.as_bytes()).ok()?;
            reply(stream)
        };
        if reply(&mut stream).is_none() || said(&mut stream, "EHLO attacker.example\r\n").is_none()
        {
            continue;
        }
        while Instant::now() < until {
            number += 1;
            let mail = format!("MAIL FROM:<a@d{number}t{thread}.{zone}.example>\r\n");
            let came = said(&mut stream, &mail)
                .and_then(|()| said(&mut stream, "RCPT TO:<bob@example.org>\r\n"))
                .and_then(|()| said(&mut stream, "RSET\r\n"));
            if came.is_none() {
                break;
            }
        }
    }
}

/// Reads a reply to its last line.
fn reply(stream: &mut TcpStream) -> Option<()> {
    let mut came = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let last = came.rsplit(|byte| *byte == b'\n').nth(1).map(<[u8]>::to_vec);
        if came.ends_with(b"\n") && last.is_some_and(|line| line.get(3) != Some(&b'-')) {
            return Some(());
        }
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => came.extend(&buffer[..count]),
            _ => return None,
        }
    }
}

/// As many sessions as are admitted, each waiting for a chunk that does not come.
fn silence(_: usize, until: Instant) {
    const SESSIONS: usize = 100;
    let mut streams: Vec<TcpStream> = Vec::new();
    while Instant::now() < until {
        while streams.len() < SESSIONS && Instant::now() < until {
            let Some(mut stream) = open(SMTP) else { break };
            if stream.write_all(b"EHLO attacker.example\r\nBDAT 52428800\r\nx").is_err() {
                break;
            }
            _ = stream.set_nonblocking(true);
            streams.push(stream);
        }
        // Those that were closed are opened again.
        let mut buffer = [0; 4096];
        streams.retain_mut(|stream| match stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        thread::sleep(Duration::from_millis(50));
    }
}
