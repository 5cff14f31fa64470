//! Resources that run out: slots for clients, descriptors, memory, the backend, name servers,
//! disk. Each time mail is deferred or flows on, nothing is acknowledged that the mail
//! system has not, and all is as before when there is enough again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::mail::{Host, backend, domain};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

mod clients;
mod disk;
mod limits;
mod other_sides;

const PORT: u16 = 2600;

/// How long a client waits for a connection that it is to have.
const ADMITTED: Duration = Duration::from_secs(10);

/// How long the reply to a whole message may take on a busy machine.
const PROMPT: Duration = Duration::from_secs(5);

fn mxdp() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 25).into()
}

/// A host whose only domain is `example.org`; `smtp` and `more` are keys and sections.
fn host(smtp: &str, towards: &str, more: &str) -> Host {
    let host = Host::new();
    let rest = format!(
        "[smtp]\n{smtp}\n[escalation]\nflood.count = 0\nabuse.count = 0\n{}{}{more}",
        domain("example.org", "main", ""),
        backend("main", PORT, towards)
    );
    host.configure("", &rest);
    host
}

/// The address of a client, of 200 in each network.
fn source(network: u8, number: usize) -> IpAddr {
    let byte = |number: usize| u8::try_from(number % 200).expect("small") + 1;
    Ipv4Addr::new(127, network, byte(number / 200), byte(number)).into()
}

fn open(host: &Host, source: IpAddr) -> Result<Dialogue, String> {
    Dialogue::open(&host.namespace, source, mxdp())
}

/// A session that has said MAIL; or what it was told instead.
fn begun(host: &Host, source: IpAddr) -> Result<Dialogue, String> {
    let mut client = open(host, source)?;
    let greeting = client.line()?;
    if !greeting.starts_with("220 ") {
        return Err(greeting);
    }
    client.say("EHLO c.example")?;
    let told = client.say("MAIL FROM:<a@b.example>")?;
    if told.starts_with("250 ") { Ok(client) } else { Err(told) }
}

/// Sends a message, and returns how long it took.
fn deliver(host: &Host, source: IpAddr) -> Result<Duration, String> {
    let start = Instant::now();
    let mut client = begun(host, source)?;
    for (line, code) in [
        ("RCPT TO:<bob@example.org>", "250 "),
        ("DATA", "354 "),
        ("Subject: x\r\n\r\nx\r\n.", "250 "),
        ("QUIT", "221 "),
    ] {
        let told = client.say(line)?;
        if !told.starts_with(code) {
            return Err(told);
        }
    }
    Ok(start.elapsed())
}

fn smtp(host: &Host, key: &str) -> u64 {
    host.home.json(&["status"])["smtp"][key].as_u64().expect("a count")
}

fn alarms(host: &Host) -> String {
    host.home.json(&["status"])["alarms"].to_string()
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).expect("a process id")), signal).expect("it runs");
}
