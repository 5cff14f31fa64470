//! Sessions that end with a rejection at RCPT, since a DNS list has the client: by
//! mxdp, and by Postfix's postscreen, with the same rbldnsd. Each session has an
//! address of its own, so neither remembers anything.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::netns::connect;
use mxdp_tests::peers::dns::{Rbldnsd, Zone};
use mxdp_tests::peers::postfix::{Options, Postfix};
use mxdp_tests::peers::relays::Sink;

const POSTSCREEN: u16 = 2825;
const MXDP: u16 = 25;

/// Sessions of a round.
const SESSIONS: u32 = 4000;

/// Sessions at once: many more than can be busy, since postscreen waits at least a
/// second for early talkers whatever it is told. So it does no more than so many a
/// second; the CPU time does not depend on that.
const AT_ONCE: u32 = 1000;

/// What a rejection costs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    /// Sessions a second.
    pub(crate) a_second: f64,
    /// Microseconds of CPU time a session, of all its processes.
    pub(crate) cpu_us: f64,
    /// Sessions that were let through, since the list's answer came too late.
    pub(crate) let_through: u32,
}

/// The cost of the fastest of some rounds: postscreen's and mxdp's.
pub(crate) fn run(rounds: usize) -> Result<[Cost; 2]> {
    let host = Host::new();
    host.namespace.ip("addr add 198.18.0.0/15 dev lo");
    let zone = Zone { name: "bl.example", kind: "ip4set", data: "127.0.0.2\n198.18.0.0/15\n" };
    let _lists = Rbldnsd::start(&host.namespace, 53, &[zone]);
    let _sink = Sink::start(&host.namespace, 2600, &[]);
    let rest = domain("example.org", "sink", "") + &backend("sink", 2600, "");
    let lists = "[dns]\nservers = [\"127.0.0.1:53\"]\n[[reputation.standard.zones]]\n\
                 name = \"bl.example\"\ncodes = [\"127.0.0.2\"]\n\
                 [escalation]\nreputation.count = 0\n[log]\nlevel = \"warn\"\n";
    host.configure("", &format!("{lists}{rest}"));
    let daemon = host.start();
    let postfix = postscreen(&host)?;
    let processes = [postfix.pid(), daemon.pid()];
    let first = AtomicU32::new(0);
    let mut best = [Cost::default(); 2];
    for _ in 0..rounds {
        for (index, port) in [POSTSCREEN, MXDP].into_iter().enumerate() {
            let before = cpu(processes[index])?;
            let (time, let_through) = round(&host, port, &first)?;
            let spent = cpu(processes[index])?.saturating_sub(before);
            let a_second = f64::from(SESSIONS) / time.as_secs_f64();
            let cpu_us = spent.as_secs_f64() * 1e6 / f64::from(SESSIONS);
            if a_second > best[index].a_second {
                best[index] = Cost { a_second, cpu_us, let_through };
            }
        }
    }
    Ok(best)
}

/// postscreen that asks the list and waits no longer than it must.
fn postscreen(host: &Host) -> Result<Postfix> {
    let resolv = host.home.path("resolv.conf");
    fs::write(&resolv, "nameserver 127.0.0.1\n")?;
    let master = format!(
        "127.0.0.1:{POSTSCREEN} inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\n\
         dnsblog unix - - n - 0 dnsblog\n"
    );
    let options = Options {
        port: 2800,
        domains: &["example.org"],
        recipients: &["bob@example.org"],
        main: "postscreen_dnsbl_sites = bl.example=127.0.0.2\npostscreen_dnsbl_action = enforce\n\
               postscreen_greet_action = ignore\npostscreen_greet_wait = 1s\npostscreen_cache_map =\n\
               postscreen_access_list =\npostscreen_client_connection_count_limit = 0\n\
               postscreen_pre_queue_limit = 5000\npostscreen_post_queue_limit = 5000\n\
               default_process_limit = 1000\n",
        master: &master,
        resolv: Some(&resolv),
    };
    Ok(Postfix::start(&host.namespace, &options))
}

/// The CPU time of a process and all that it started, those that have ended too.
fn cpu(root: u32) -> Result<Duration> {
    let mut times = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(text) = fs::read_to_string(entry?.path().join("stat")) else { continue };
        // The name, in parentheses, may have spaces (proc(5)).
        let Some((start, rest)) = text.rsplit_once(") ") else { continue };
        let Some(Ok(pid)) = start.split(' ').next().map(str::parse::<u32>) else { continue };
        let numbers: Vec<u64> =
            rest.split(' ').skip(1).filter_map(|word| word.parse().ok()).collect();
        let parent = u32::try_from(*numbers.first().context("proc(5)")?)?;
        let ticks: u64 = numbers.get(10..14).context("proc(5)")?.iter().sum();
        times.insert(pid, (parent, ticks));
    }
    let is_ours = |mut pid: u32| {
        while let Some((parent, _)) = times.get(&pid) {
            if pid == root {
                return true;
            }
            pid = *parent;
        }
        false
    };
    let ticks: u64 =
        times.iter().filter(|(pid, _)| is_ours(**pid)).map(|(_, (_, ticks))| ticks).sum();
    // Linux counts 100 a second for user space (USER_HZ).
    Ok(Duration::from_millis(ticks * 10))
}

/// How long all sessions took, and how many were let through.
fn round(host: &Host, port: u16, first: &AtomicU32) -> Result<(Duration, u32)> {
    let start_at = first.fetch_add(SESSIONS, Ordering::Relaxed);
    let (next, let_through) = (AtomicU32::new(0), AtomicU32::new(0));
    host.namespace.run(|| {
        let start = Instant::now();
        thread::scope(|scope| -> Result<()> {
            let work = || -> Result<()> {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= SESSIONS {
                        return Ok(());
                    }
                    let source = Ipv4Addr::from(0xc612_0001 + start_at + number);
                    if !session(source, port)? {
                        let_through.fetch_add(1, Ordering::Relaxed);
                    }
                }
            };
            let spawn = |_| thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, work);
            let workers: Vec<_> =
                (0..AT_ONCE).map(spawn).collect::<Result<_, _>>().context("a thread")?;
            for worker in workers {
                worker.join().map_err(|_| anyhow!("a client panicked"))??;
            }
            Ok(())
        })?;
        Ok((start.elapsed(), let_through.load(Ordering::Relaxed)))
    })
}

/// Whether a session was rejected.
fn session(source: Ipv4Addr, port: u16) -> Result<bool> {
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let socket = connect(IpAddr::V4(source), target, Duration::from_secs(20))?;
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut reply = || -> Result<String> {
        loop {
            let mut line = String::new();
            ensure!(reader.read_line(&mut line)? > 0, "{source} at {port}: closed");
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    };
    reply()?;
    let mut rejected = false;
    for line in ["EHLO client.example", "MAIL FROM:<a@b.example>", "RCPT TO:<bob@example.org>"] {
        stream.write_all(format!("{line}\r\n").as_bytes())?;
        let told = reply()?;
        if line.starts_with("RCPT") && told.starts_with("550 5.7.1") {
            rejected = true;
        } else {
            ensure!(told.starts_with("250"), "{source} at {port}: {told}");
        }
    }
    stream.write_all(b"QUIT\r\n")?;
    reply()?;
    Ok(rejected)
}
