//! A mail host behind a veth pair, the mail that is sent to it, and the flood.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use filter_common::Family;
use mxdp_tests::daemon::{Daemon, Home};
use mxdp_tests::generator::{Generator, Sources, Way};
use mxdp_tests::mail::{backend, domain};
use mxdp_tests::netns::{Namespace, Pair};
use mxdp_tests::peers::relays::Sink;
use mxdp_tests::peers::{self, Process};

/// Where the mail system listens that takes what mxdp hands on.
const SINK: u16 = 2600;

/// Where mail and flood go: the generator's frames are for this address.
const TARGET: &str = "203.0.113.25";

/// Sources of a flood.
const SOURCES: u32 = 1 << 16;

/// Frames between two looks whether the flood is to end, at least and at most. To begin
/// takes the kernel some milliseconds each time, so more where they are soon made.
const CHUNK: std::ops::RangeInclusive<u32> = 1 << 14..=1 << 20;

/// How long they should take.
const LOOK: Duration = Duration::from_millis(200);

/// How long mail and flood run before they are measured.
const WARM: Duration = Duration::from_millis(700);

/// A client and a mail host, with mxdp and a mail system on it.
pub(crate) struct Site {
    pair: Pair,
    home: Home,
    _sink: Sink,
    /// The client's end of the pair.
    index: u32,
}

/// What was measured in a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Messages that were accepted, a second.
    pub(crate) mail: f64,
    /// Frames of the flood that were made, a second.
    pub(crate) frames: f64,
    /// How often the client gave up and was started again.
    pub(crate) restarts: u32,
    /// Frames that were made in all of the turn.
    pub(crate) sent: u64,
    /// Frames that the filter dropped as listed meanwhile.
    pub(crate) dropped: u64,
    /// Frames that found the device's queue full.
    pub(crate) lost: u64,
    /// SYNs that the filter let pass as unlisted meanwhile.
    pub(crate) admitted: u64,
    /// Connections to mxdp meanwhile.
    pub(crate) connections: u64,
}

/// A source of a flood that is on the list.
pub(crate) const LISTED: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
/// A source of a flood that is not.
pub(crate) const UNLISTED: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);

/// The cores that make the flood, and that have the mail.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) flood: usize,
    pub(crate) mail: usize,
}

fn ethtool(host: &Namespace, arguments: &[&str]) -> Result<()> {
    let mut command = host.command(peers::find("ethtool"));
    let output = command.args(arguments).envs(peers::environment()).output().context("ethtool")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ethtool {arguments:?}: {said}");
    Ok(())
}

/// Has what a core sends by the client's device go through a queue.
fn steer(client: &Namespace, queue: usize, core: usize) -> Result<()> {
    // `ip netns exec` shows the namespace's own devices in /sys.
    let script = format!("echo {:x} > /sys/class/net/e1/queues/tx-{queue}/xps_cpus", 1_u64 << core);
    let mut command = Command::new(peers::ip());
    command.args(["netns", "exec", client.name(), "sh", "-c", &script]);
    let output = command.output().context("ip netns exec")?;
    ensure!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

impl Site {
    /// A host whose interface has mxdp's filter, or none; with a queue for each of two
    /// cores, or one for both.
    pub(crate) fn new(filtered: bool, cores: Option<Cores>) -> Result<Self> {
        let pair = Pair::new();
        let (edge, client) = (&pair.edge, &pair.client);
        // The address that the frames are for, and a way back for whom they are from.
        edge.ip("link set e0 address 02:00:00:00:00:01");
        edge.ip(&format!("addr add {TARGET}/32 dev e0"));
        edge.ip("route add default via 10.77.0.2");
        client.ip(&format!("route add {TARGET}/32 via 10.77.0.1"));
        // Without an XDP program a device takes frames in by NAPI only if told to.
        ethtool(edge, &["-K", "e0", "gro", "on"])?;
        if let Some(Cores { flood, mail }) = cores {
            ethtool(edge, &["-L", "e0", "rx", "2", "tx", "2"])?;
            ethtool(client, &["-L", "e1", "rx", "2", "tx", "2"])?;
            // The device takes in what is redirected to it by the core's queue.
            let queue = flood % 2;
            steer(client, queue, flood)?;
            steer(client, 1 - queue, mail)?;
        }
        let index = client.run(|| nix::net::if_::if_nametoindex("e1")).context("the device")?;
        let sink = Sink::start(edge, SINK, &[]);
        let home = Home::new();
        let mut list = String::new();
        // 100.64.0.0/10, as networks of 256 addresses.
        for number in 0..(1_u32 << 14) {
            writeln!(list, "{}/24", Ipv4Addr::from_bits(LISTED.to_bits() + (number << 8)))?;
        }
        home.write("blocked.txt", list);
        let interface = if filtered {
            "e0"
        } else {
            edge.ip("link add d0 type veth peer name d1");
            "d0"
        };
        let rest = format!(
            "[log]\nlevel = \"warn\"\n[listen]\nsmtp = [\"0.0.0.0:25\"]\n\
             hostname = \"mx.example.org\"\n[smtp]\nconnections_per_address = 1000\n\
             [blocked]\nfiles = [\"blocked.txt\"]\n{}{}",
            domain("example.org", "sink", ""),
            backend("sink", SINK, "")
        );
        home.configure(&format!("interfaces = [\"{interface}\"]\nmode = \"native\""), &rest);
        Ok(Self { pair, home, _sink: sink, index })
    }

    /// Starts mxdp.
    pub(crate) fn start(&self) -> Daemon<'_> {
        self.home.start(&self.pair.edge)
    }

    /// Drops the listed sources by nftables at the interface, or stops doing so.
    pub(crate) fn drop_by_nftables(&self, drops: bool) -> Result<()> {
        let script = if drops {
            "table netdev flood {\n\
             set listed {\ntype ipv4_addr\nflags interval\nelements = { 100.64.0.0/10 }\n}\n\
             chain ingress {\ntype filter hook ingress device \"e0\" priority 0; policy accept;\n\
             ip saddr @listed drop\n}\n}"
        } else {
            "delete table netdev flood"
        };
        let mut nft = self.pair.edge.command(peers::find("nft"));
        let output = nft.arg(script).envs(peers::environment()).output().context("nft")?;
        ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Sends mail for a time, under a flood from `first` and the addresses after it
    /// where there is one.
    pub(crate) fn measure(
        &self,
        daemon: &Daemon<'_>,
        generator: &mut Generator,
        first: Option<Ipv4Addr>,
        time: Duration,
    ) -> Result<Sample> {
        let before = self.counted(daemon)?;
        let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut sample = thread::scope(|scope| -> Result<Sample> {
            let stop_it = Stop(&stop);
            let flood = first.map(|first| {
                let (stop, sent) = (&stop, &sent);
                scope.spawn(move || self.flood(generator, first, stop, sent))
            });
            let sample = self.mail(time, &sent);
            drop(stop_it);
            if let Some(flood) = flood {
                flood.join().map_err(|_| anyhow::anyhow!("the flood panicked"))??;
            }
            sample
        })?;
        // Frames that are still on their way are accepted at once.
        thread::sleep(Duration::from_millis(100));
        let after = self.counted(daemon)?;
        sample.sent = sent.into_inner();
        let [dropped, admitted, connections, lost] = [0, 1, 2, 3].map(|at| after[at] - before[at]);
        Ok(Sample { dropped, admitted, connections, lost, ..sample })
    }

    /// Frames dropped as listed, and admitted as unlisted; connections; and frames that
    /// the device had no room for.
    fn counted(&self, daemon: &Daemon<'_>) -> Result<[u64; 4]> {
        let connections = self.home.json(&["status"])["smtp"]["connections"].as_u64();
        let text = self.pair.edge.run(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("e0:"));
        // Bytes, packets, errors, dropped.
        let lost = line.and_then(|line| line.split_whitespace().nth(3)).context("no device")?;
        Ok([
            daemon.frames("blocked_ip"),
            daemon.frames("unlisted"),
            connections.context("no count of connections")?,
            lost.parse()?,
        ])
    }

    fn flood(
        &self,
        generator: &mut Generator,
        first: Ipv4Addr,
        stop: &AtomicBool,
        sent: &AtomicU64,
    ) -> Result<()> {
        let source = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() + number));
        let sources: Vec<_> = (0..SOURCES).map(source).collect();
        generator.prepare(&Sources::Walk(&sources))?;
        let way = Way { home: &self.pair.client, index: self.index };
        let mut chunk = *CHUNK.start();
        while !stop.load(Ordering::Relaxed) {
            let start = Instant::now();
            generator.send(&way, Family::V4, sent.load(Ordering::Relaxed), chunk)?;
            sent.fetch_add(chunk.into(), Ordering::Relaxed);
            if start.elapsed() < LOOK / 2 && chunk < *CHUNK.end() {
                chunk *= 2;
            } else if start.elapsed() > LOOK * 2 && chunk > *CHUNK.start() {
                chunk /= 2;
            }
        }
        Ok(())
    }

    /// Sends messages of 4 KB, each over a connection of its own, 10 at once.
    fn mail(&self, time: Duration, sent: &AtomicU64) -> Result<Sample> {
        let mut client = self.client()?;
        let mut restarts = 0;
        let mut wait = |time: Duration| -> Result<()> {
            let start = Instant::now();
            while start.elapsed() < time {
                thread::sleep(Duration::from_millis(20));
                if client.0.try_wait()?.is_some() {
                    client = self.client()?;
                    restarts += 1;
                }
            }
            Ok(())
        };
        let accepted = || {
            let accepted = self.home.json(&["status"])["smtp"]["accepted"].as_u64();
            (accepted.unwrap_or(0), sent.load(Ordering::Relaxed), Instant::now())
        };
        wait(WARM)?;
        let (mail_before, sent_before, start) = accepted();
        wait(time)?;
        let (mail, sent, end) = accepted();
        #[expect(clippy::cast_precision_loss, reason = "rates")]
        let rate = |count: u64| count as f64 / (end - start).as_secs_f64();
        let (mail, frames) = (rate(mail - mail_before), rate(sent - sent_before));
        Ok(Sample { mail, frames, restarts, ..Sample::default() })
    }

    fn client(&self) -> Result<Process> {
        let mut command = self.pair.client.command(peers::find("smtp-source"));
        command.args(["-s", "10", "-m", "10000000", "-l", "4096", "-f", "a@b.example"]);
        command.args(["-t", "bob@example.org", &format!("{TARGET}:25")]);
        command.envs(peers::environment());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Process(command.spawn().context("smtp-source")?))
    }
}

/// Ends the flood when it goes, also by an error.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
