//! Other packet filters, each from its own package, filled with what mxdp lists.
//!
//! Each drops what is listed and then everything, each with a counter. Their rules
//! ask for the source alone: they are spared what mxdp finds out beside it, that
//! the frame is a TCP SYN to a protected port.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use filter_common::Family;
use mxdp_tests::netns::Namespace;
use mxdp_tests::peers;

use crate::contest::{Contender, Counts};
use crate::lane::Lane;
use crate::lists::Lists;

/// How long one may take to be filled.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a program may take of memory while it fills its tables.
const MEMORY: u64 = 8 << 30;

/// A set of nftables at the ingress of the device.
pub(crate) struct Nftables {
    lane: Lane,
    so_far: Counts,
}

impl Nftables {
    pub(crate) fn new(home: &Namespace, lists: &Lists) -> Result<Self> {
        let lane = Lane::with_napi(home)?;
        let (kind, field) = match lists.family {
            Family::V6 => ("ipv6_addr", "ip6"),
            Family::V4 | Family::Other => ("ipv4_addr", "ip"),
        };
        let mut script = format!(
            "table netdev bench {{\n\
             counter listed {{ }}\ncounter unlisted {{ }}\n\
             set listed {{ type {kind}; flags interval; elements = {{\n"
        );
        for net in &lists.listed {
            // An address of its own is an element of its own.
            match net.prefix_len() == net.max_prefix_len() {
                true => writeln!(script, "{},", net.addr())?,
                false => writeln!(script, "{net},")?,
            }
        }
        write!(
            script,
            "}} }}\nchain ingress {{\n\
             type filter hook ingress device \"{}\" priority 0; policy accept;\n\
             {field} saddr @listed counter name listed drop\n\
             counter name unlisted drop\n}}\n}}\n",
            Lane::DEVICE
        )?;
        let mut nft = bounded(&lane.host, "nft");
        finish(nft.args(["-f", "-"]), script.as_bytes())?;
        Ok(Self { lane, so_far: Counts::default() })
    }
}

impl Contender for Nftables {
    fn lane(&self) -> &Lane {
        &self.lane
    }

    fn counts(&mut self) -> Result<Option<Counts>> {
        // To list them, it would read the whole set before; to reset them, it does
        // not.
        let mut nft = bounded(&self.lane.host, "nft");
        let text = finish(nft.args(["--json", "reset", "counters"]), b"")?;
        let answer: serde_json::Value = serde_json::from_str(&text)?;
        let counter = |name: &str| {
            let objects = answer["nftables"].as_array().into_iter().flatten();
            let mut counters = objects.filter_map(|object| object.get("counter"));
            let found = counters.find(|counter| counter["name"] == name);
            found.and_then(|counter| counter["packets"].as_u64()).context("nft has no counter")
        };
        self.so_far.listed += counter("listed")?;
        self.so_far.unlisted += counter("unlisted")?;
        Ok(Some(self.so_far))
    }
}

/// A set of ipset that iptables asks as early as it can.
pub(crate) struct Ipset {
    lane: Lane,
    tables: &'static str,
}

impl Ipset {
    pub(crate) fn new(home: &Namespace, lists: &Lists) -> Result<Self> {
        let lane = Lane::with_napi(home)?;
        let (family, tables) = match lists.family {
            Family::V6 => ("inet6", "ip6tables"),
            Family::V4 | Family::Other => ("inet", "iptables"),
        };
        let count = lists.listed.len();
        // A table that need not grow.
        let mut script = format!(
            "create listed hash:net family {family} hashsize {} maxelem {count}\n",
            count.next_power_of_two().max(64)
        );
        for net in &lists.listed {
            writeln!(script, "add listed {net}")?;
        }
        finish(bounded(&lane.host, "ipset").arg("restore"), script.as_bytes())?;
        let rivals = Self { lane, tables };
        rivals.iptables(&["-A", "PREROUTING", "-m", "set", "--match-set", "listed", "src"])?;
        rivals.iptables(&["-A", "PREROUTING"])?;
        Ok(rivals)
    }

    fn iptables(&self, rule: &[&str]) -> Result<String> {
        let mut command = bounded(&self.lane.host, "xtables-legacy-multi");
        command.args([self.tables, "-t", "raw"]).args(rule);
        if rule.contains(&"-A") {
            command.args(["-j", "DROP"]);
        }
        // Else it locks a file of the host.
        command.env("XTABLES_LOCKFILE", "/dev/null");
        let extensions = peers::find("usr/lib/x86_64-linux-gnu/xtables");
        finish(command.env("XTABLES_LIBDIR", extensions), b"")
    }
}

impl Contender for Ipset {
    fn lane(&self) -> &Lane {
        &self.lane
    }

    fn counts(&mut self) -> Result<Option<Counts>> {
        let text = self.iptables(&["-L", "PREROUTING", "-v", "-n", "-x"])?;
        // Two lines of headings, then the rules.
        let mut rules = text.lines().skip(2);
        let mut next = || -> Result<u64> {
            let packets = rules.next().and_then(|line| line.split_whitespace().next());
            Ok(packets.context("iptables lacks a rule")?.parse()?)
        };
        Ok(Some(Counts { listed: next()?, unlisted: next()? }))
    }
}

/// xdp-filter, which knows addresses and no prefixes, with one address.
pub(crate) struct XdpFilter {
    lane: Lane,
    mounts: Mounts,
}

impl XdpFilter {
    pub(crate) fn new(home: &Namespace, address: IpAddr) -> Result<Self> {
        let lane = Lane::new(home)?;
        let rival = Self { lane, mounts: Mounts::new()? };
        rival.run(&["load", Lane::DEVICE, "-m", "native", "-f", "ipv4,ipv6", "-p", "allow"])?;
        rival.run(&["ip", &address.to_string(), "-m", "src"])?;
        Ok(rival)
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount={}", self.mounts.path()));
        command.arg(format!("--net=/run/netns/{}", self.lane.host.name()));
        command.arg("--").arg(peers::find("xdp-filter")).args(arguments);
        command.envs(peers::environment());
        let programs = peers::find("usr/lib/x86_64-linux-gnu/bpf");
        finish(command.env("LIBXDP_OBJECT_PATH", programs), b"")
    }
}

impl Contender for XdpFilter {
    fn lane(&self) -> &Lane {
        &self.lane
    }

    fn counts(&mut self) -> Result<Option<Counts>> {
        let text = self.run(&["status"])?;
        let packets = |action: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(action));
            let number = line.and_then(|line| line.split_whitespace().next());
            Ok(number.with_context(|| format!("no {action} in: {text}"))?.parse()?)
        };
        Ok(Some(Counts { listed: packets("XDP_DROP")?, unlisted: packets("XDP_PASS")? }))
    }
}

/// A mount namespace with a bpf file system of its own, where programs pin what
/// lives as long as it does.
struct Mounts(peers::Process);

impl Mounts {
    fn new() -> Result<Self> {
        let script = "mount -t bpf bpf /sys/fs/bpf && echo mounted && exec cat";
        let mut child = Command::new("unshare")
            .args(["--mount", "--", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare")?;
        let mut answer = [0; 7];
        let read = child.stdout.take().context("no output")?.read_exact(&mut answer);
        let mounts = Self(peers::Process(child));
        read.context("no bpf file system")?;
        Ok(mounts)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/mnt", self.0.0.id())
    }
}

/// A program on a contender's host.
fn bounded(host: &Namespace, program: &str) -> Command {
    let inside = host.command(peers::find(program));
    let mut command = Command::new("prlimit");
    command.arg(format!("--as={MEMORY}")).arg("--").arg(inside.get_program());
    command.args(inside.get_args()).envs(peers::environment());
    command
}

/// Runs a program to its end and returns its output; ends it when it takes too
/// long.
fn finish(command: &mut Command, input: &[u8]) -> Result<String> {
    // Files, because no pipe is read or written while it runs.
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    File::create(file("in"))?.write_all(input)?;
    let child = command
        .stdin(File::open(file("in"))?)
        .stdout(File::create(file("out"))?)
        .stderr(File::create(file("err"))?)
        .spawn()
        .with_context(|| format!("{command:?} did not start"))?;
    let mut process = peers::Process(child);
    let start = Instant::now();
    let status = loop {
        if let Some(status) = process.0.try_wait()? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            bail!("it takes longer than {} s", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(2));
    };
    let read =
        |path: &Path| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let said = read(&file("err"))?;
    ensure!(status.success(), "{status}: {}", said.lines().next().unwrap_or_default());
    Ok(read(&file("out"))?)
}
