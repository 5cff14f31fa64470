//! `cargo xtask bench smtp [--rounds N] [--json] [--rejection]`: the time that messages take
//! from smtp-source to smtp-sink, directly, through HAProxy in TCP mode, through
//! Postfix as a before-queue proxy, and through mxdp; interleaved, in one run. Then
//! sessions a second that are rejected for a DNS list, by postscreen and by mxdp.

mod rejection;

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context as _, Result, bail, ensure};
use mxdp_tests::daemon::wait_for;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::netns::Namespace;
use mxdp_tests::peers::clients::{said, smtp_source};
use mxdp_tests::peers::postfix::{Options, Postfix};
use mxdp_tests::peers::relays::{Haproxy, Sink};
use mxdp_tests::tls;
use rejection::Cost;

/// Where everything listens.
const SINK: u16 = 2600;
const HAPROXY: u16 = 2700;
const POSTFIX: u16 = 2800;
const MXDP: u16 = 25;

/// Connections that are held open without a word.
const IDLE: usize = 8000;

/// A workload: its name, and the arguments of smtp-source.
const WORKLOADS: [(&str, &[&str]); 4] = [
    ("4,000 of 4 KB, one a connection", &["-m", "4000", "-l", "4096"]),
    ("4,000 of 4 KB, many a connection", &["-d", "-m", "4000", "-l", "4096"]),
    ("1,000 of 100 KB, one a connection", &["-m", "1000", "-l", "102400"]),
    ("1,000 of 100 KB, many a connection", &["-d", "-m", "1000", "-l", "102400"]),
];

const WAYS: [(&str, u16); 4] =
    [("direct", SINK), ("HAProxy", HAPROXY), ("Postfix", POSTFIX), ("mxdp", MXDP)];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mut rounds = 5;
    let mut json = false;
    let mut only_rejection = false;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--rounds" => rounds = rest.next().context("--rounds needs a number")?.parse()?,
            "--json" => json = true,
            "--rejection" => only_rejection = true,
            other => bail!("no option {other}; there are --rounds N, --json and --rejection"),
        }
    }
    ensure!(rounds > 0, "at least one round");
    // The program of the same profile, beside this one.
    let mxdp = env::current_exe()?.with_file_name("mxdp");
    ensure!(mxdp.exists(), "{} is missing: cargo build --release first", mxdp.display());
    if only_rejection {
        print_rejected(rejection::run(rounds)?);
        return Ok(());
    }
    run(rounds, json)
}

fn print_rejected(rejected: [Cost; 2]) {
    println!("\nrejected at RCPT for a DNS list, a new client each session\n");
    println!("| | sessions a second | CPU a session, µs | let through |");
    println!("|---|---|---|---|");
    for (name, cost) in ["postscreen", "mxdp"].into_iter().zip(rejected) {
        let Cost { a_second, cpu_us, let_through } = cost;
        println!("| {name} | {a_second:.0} | {cpu_us:.0} | {let_through} |");
    }
}

fn run(rounds: usize, json: bool) -> Result<()> {
    let host = Host::new();
    let namespace = &host.namespace;
    let _sink = Sink::start(namespace, SINK, &[]);
    let _haproxy = Haproxy::start(namespace, HAPROXY, SINK);
    let certificate = tls::Authority::new();
    let (chain, key) = certificate.issue(&host.home.path(""), "mx.example.org");
    let _postfix = before_queue(namespace, &chain, &key);
    let limits = "[smtp]\nconnections_per_address = 20000\n";
    let tls = format!("[[tls.certificates]]\nchain = {chain:?}\nkey = {key:?}\n");
    let rest = domain("example.org", "sink", "") + &backend("sink", SINK, "");
    host.configure("", &format!("{limits}{tls}{rest}"));
    let daemon = host.start();

    let mut table = Vec::new();
    for (name, arguments) in WORKLOADS {
        let mut times = WAYS.map(|_| Vec::new());
        for _ in 0..rounds {
            for ((_, port), times) in WAYS.iter().zip(&mut times) {
                times.push(source(namespace, *port, arguments)?);
            }
        }
        table.push((name, times.map(median)));
    }
    let mut secure = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (port, times) in [POSTFIX, MXDP].into_iter().zip(&mut secure) {
            times.push(starttls(namespace, port)?);
        }
    }
    let secure = secure.map(median);
    let idle = idle(namespace, daemon.pid())?;
    drop(daemon);
    let rejected = rejection::run(rounds)?;
    if json {
        print_json(&table, secure, idle, rejected);
    } else {
        print_table(&table, secure, idle, rounds);
        print_rejected(rejected);
    }
    Ok(())
}

/// Postfix that checks nothing and passes each message on while it comes
/// (SMTPD_PROXY_README).
fn before_queue(namespace: &Namespace, chain: &Path, key: &Path) -> Postfix {
    let main = format!(
        "smtpd_proxy_filter = 127.0.0.1:{SINK}\nsmtpd_client_connection_count_limit = 0\n\
         default_process_limit = 100\n\
         smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n",
        chain.display(),
        key.display()
    );
    let options = Options {
        port: POSTFIX,
        domains: &["example.org"],
        recipients: &["bob@example.org"],
        main: &main,
        ..Options::default()
    };
    Postfix::start(namespace, &options)
}

fn source(namespace: &Namespace, port: u16, arguments: &[&str]) -> Result<Duration> {
    let to = format!("127.0.0.1:{port}");
    let common = ["-s", "50", "-f", "a@b.example", "-t", "bob@example.org"];
    let arguments: Vec<&str> = common.iter().chain(arguments).copied().chain([&*to]).collect();
    let start = Instant::now();
    let output = smtp_source(namespace, &arguments);
    let time = start.elapsed();
    ensure!(output.status.success() && output.stderr.is_empty(), "{to}: {}", said(&output));
    Ok(time)
}

/// 1,000 messages of 4 KB, each over a connection of its own with STARTTLS, 50 at
/// once.
fn starttls(namespace: &Namespace, port: u16) -> Result<Duration> {
    namespace.run(|| {
        let start = Instant::now();
        let config = Arc::new(tls::trusting_everybody());
        let workers: Vec<_> = (0..50)
            .map(|_| {
                let config = config.clone();
                thread::spawn(move || -> Result<()> {
                    (0..20).try_for_each(|_| tls::send(port, &config, 4096))
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        Ok(start.elapsed())
    })
}

/// Resident memory before, and with that many connections open, in bytes.
fn idle(namespace: &Namespace, pid: u32) -> Result<(u64, u64)> {
    let before = resident(pid)?;
    let connections = namespace.run(|| {
        let connections: Result<Vec<_>, _> =
            (0..IDLE).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, MXDP))).collect();
        connections.context("connect (see `ulimit -n`)")
    })?;
    // Each has its greeting when all are served.
    let mut last = connections.last().context("none")?;
    last.set_read_timeout(Some(Duration::from_secs(20)))?;
    std::io::Read::read_exact(&mut last, &mut [0; 3])?;
    thread::sleep(Duration::from_secs(1));
    let with = resident(pid)?;
    drop(connections);
    wait_for("the connections' end", || resident(pid).is_ok());
    Ok((before, with))
}

fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn print_table(
    table: &[(&str, [Duration; 4])],
    secure: [Duration; 2],
    idle: (u64, u64),
    rounds: usize,
) {
    println!("smtp-source (50 at once) to smtp-sink; seconds, medians of {rounds}, interleaved\n");
    println!("| messages | direct | HAProxy | Postfix | mxdp | mxdp / HAProxy | Postfix / mxdp |");
    println!("|---|---|---|---|---|---|---|");
    for (name, [direct, haproxy, postfix, mxdp]) in table {
        println!(
            "| {name} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            direct.as_secs_f64(),
            haproxy.as_secs_f64(),
            postfix.as_secs_f64(),
            mxdp.as_secs_f64(),
            mxdp.as_secs_f64() / haproxy.as_secs_f64(),
            postfix.as_secs_f64() / mxdp.as_secs_f64(),
        );
    }
    let [postfix, mxdp] = secure.map(|time| time.as_secs_f64());
    println!(
        "| 1,000 of 4 KB, one a connection, STARTTLS | | | {postfix:.2} | {mxdp:.2} | | {:.2} |",
        postfix / mxdp
    );
    let megabytes = |bytes: u64| bytes / 1_000_000;
    println!(
        "\n{IDLE} idle connections: {} MB resident ({} MB before)",
        megabytes(idle.1),
        megabytes(idle.0)
    );
}

fn print_json(
    table: &[(&str, [Duration; 4])],
    secure: [Duration; 2],
    idle: (u64, u64),
    rejected: [Cost; 2],
) {
    let rows: Vec<_> = table
        .iter()
        .map(|(name, times)| {
            let [direct, haproxy, postfix, mxdp] = times.map(|time| time.as_secs_f64());
            serde_json::json!({
                "messages": name, "direct_s": direct, "haproxy_s": haproxy,
                "postfix_s": postfix, "mxdp_s": mxdp,
            })
        })
        .collect();
    let [postfix, mxdp] = secure.map(|time| time.as_secs_f64());
    let report = serde_json::json!({
        "workloads": rows,
        "starttls": { "postfix_s": postfix, "mxdp_s": mxdp },
        "rejected": {
            "postscreen_a_second": rejected[0].a_second, "mxdp_a_second": rejected[1].a_second,
            "postscreen_cpu_us": rejected[0].cpu_us, "mxdp_cpu_us": rejected[1].cpu_us,
        },
        "idle": { "connections": IDLE, "before_bytes": idle.0, "with_bytes": idle.1 },
    });
    println!("{report:#}");
}
