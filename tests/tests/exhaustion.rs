//! What runs out: places for clients, descriptors, memory, the backend, name servers,
//! disk. Each time mail is deferred or flows on, nothing is acknowledged that the mail
//! system has not, and all is as before when there is enough again.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mxdp_tests::daemon::{Daemon, wait_for};
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::limits::{MemoryGroup, raise_descriptors};
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::netns::connect;
use mxdp_tests::peers::clients::said;
use mxdp_tests::peers::relays::Sink;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

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

/// Sends a message, and says how long it took.
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

/// Its resident memory, in MiB.
fn resident(daemon: &Daemon<'_>) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// The processor time that it has taken.
fn processor_time(daemon: &Daemon<'_>) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let fields: Vec<u64> = fields.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // utime and stime, behind the letter of its state and ten numbers; in hundredths.
    Duration::from_millis((fields[10] + fields[11]) * 10)
}

/// The numbers of its descriptors.
fn descriptors(daemon: &Daemon<'_>) -> BTreeSet<usize> {
    let entries = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("the daemon runs");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Limits the descriptors of a daemon that runs.
fn limit_descriptors(daemon: &Daemon<'_>, soft: usize, hard: usize) {
    let output = Command::new("prlimit")
        .args(["--pid", &daemon.pid().to_string(), &format!("--nofile={soft}:{hard}")])
        .output()
        .expect("prlimit(1)");
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn thousands_of_slow_clients_are_closed_and_hold_nobody_up() {
    const SLOW: usize = 5000;
    raise_descriptors(SLOW as u64 + 1000);
    let host = host("command_timeout = 15\nconnections_per_address = 100", "", "");
    let _sink = Sink::start(&host.namespace, PORT, &[]);
    let daemon = host.start();
    deliver(&host, source(1, 0)).expect("delivered");
    let before = resident(&daemon);
    // Every other says nothing, the rest an octet of a command every two seconds.
    let clients: Vec<TcpStream> = host.namespace.run(|| {
        let slow = |number: usize| {
            let client = connect(source(2, number / 50), mxdp(), ADMITTED).expect("a connection");
            client.set_nonblocking(true).expect("an option");
            TcpStream::from(client)
        };
        (0..SLOW).map(slow).collect()
    });
    wait_for("all of them", || smtp(&host, "open") >= SLOW as u64 * 9 / 10);
    let stop = AtomicBool::new(false);
    let taken = thread::scope(|scope| {
        let stop = Stop(&stop);
        scope.spawn(|| {
            while !stop.0.load(Ordering::Relaxed) {
                for mut client in clients.iter().skip(1).step_by(2) {
                    _ = client.write(b"E");
                }
                thread::sleep(Duration::from_secs(2));
            }
        });
        let taken: Vec<_> =
            (0..10).map(|number| deliver(&host, source(1, number)).expect("delivered")).collect();
        let grown = resident(&daemon).saturating_sub(before);
        assert!(grown < 100, "{grown} MiB for {SLOW} connections");
        let start = Instant::now();
        while smtp(&host, "open") > 0 {
            assert!(start.elapsed() < Duration::from_secs(45), "{} are left", smtp(&host, "open"));
            thread::sleep(Duration::from_millis(200));
        }
        taken
    });
    assert!(taken.iter().max() < Some(&PROMPT), "{taken:?}");
    // Those that were quiet can read why.
    let mut told = 0;
    for mut client in clients.iter().step_by(2) {
        let mut text = String::new();
        _ = client.read_to_string(&mut text);
        told += usize::from(text.contains("\r\n421 4.4.2 "));
    }
    assert_eq!(told, SLOW / 2);
    assert_eq!(smtp(&host, "accepted"), 11);
}

/// Ends what runs beside a test when it goes, also by a panic.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn floods_of_connections_stay_within_their_limits() {
    const ALL: usize = 200;
    const EACH: usize = 20;
    raise_descriptors(8000);
    let host = host(&format!("connections = {ALL}\nconnections_per_address = {EACH}"), "", "");
    let _sink = Sink::start(&host.namespace, PORT, &[]);
    let _daemon = host.start();
    // One address, which holds whatever it gets, also what is refused.
    let (stop, tried) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let stop = Stop(&stop);
        let flood = scope.spawn(|| {
            host.namespace.run(|| {
                let mut held = Vec::new();
                while !stop.0.load(Ordering::Relaxed) && held.len() < 4000 {
                    held.extend(connect(source(3, 0), mxdp(), ADMITTED));
                    tried.fetch_add(1, Ordering::Relaxed);
                }
                held
            })
        });
        wait_for("more than there are places", || tried.load(Ordering::Relaxed) > 2 * ALL);
        for number in 0..30 {
            let taken = deliver(&host, source(4, number)).expect("others are served");
            assert!(taken < PROMPT, "{taken:?}");
        }
        drop(stop);
        let held = flood.join().expect("the flood");
        assert!(held.len() > 2 * ALL, "{}", held.len());
        let (mut greeted, mut refused) = (0, 0);
        for mut client in held {
            let mut reply = [0; 9];
            _ = client.set_read_timeout(Some(Duration::from_secs(5)));
            match client.read_exact(&mut reply) {
                Ok(()) if reply.starts_with(b"220 ") => greeted += 1,
                Ok(()) if &reply == b"421 4.7.0" => refused += 1,
                other => panic!("{other:?}: {:?}", String::from_utf8_lossy(&reply)),
            }
        }
        assert_eq!(greeted, EACH);
        assert!(refused > 0);
    });
    wait_for("their end", || smtp(&host, "open") == 0);
    // Many addresses, none of which has too many.
    let mut held = Vec::new();
    for number in 0..ALL {
        let client = begun(&host, source(5, number / EACH));
        held.push(client.unwrap_or_else(|told| panic!("{number}: {told}")));
    }
    for number in 0..100 {
        let told = begun(&host, source(6, number)).err().expect("no more places");
        assert!(told.starts_with("421 4.3.2 "), "{number}: {told}");
    }
    // One that goes makes room, and who is served stays so.
    held.pop();
    wait_for("a place", || deliver(&host, source(6, 0)).is_ok());
    assert!(held[0].told("RCPT TO:<bob@example.org>").starts_with("250 "));
    drop(held);
    wait_for("their end", || smtp(&host, "open") == 0);
    deliver(&host, source(6, 1)).expect("delivered");
}

#[test]
fn descriptors_that_run_out_are_waited_for() {
    let host = host("", "", "[log]\nformat = \"json\"\n");
    let _sink = Sink::start(&host.namespace, PORT, &[]);
    let limited = ["prlimit", "--nofile=300:400", "--"];
    let daemon = host.home.start_under(&limited, &host.namespace);
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).expect("it runs");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    assert_eq!(files.split_whitespace().nth(3), Some("400"), "raised: {files}");
    assert!(host.home.log().contains("permits fewer connections"), "{}", host.home.log());
    // As many as are permitted have all they need, and the next is told.
    let mut sessions = Vec::new();
    let told = loop {
        match begun(&host, source(1, sessions.len())) {
            Ok(session) => sessions.push(session),
            Err(told) => break told,
        }
        assert!(sessions.len() < 200, "no limit");
    };
    assert!(told.starts_with("421 4.3.2 ") && sessions.len() >= 20, "{}: {told}", sessions.len());
    for session in &mut sessions {
        assert!(session.told("RCPT TO:<bob@example.org>").starts_with("250 "));
    }
    drop(sessions);
    wait_for("their end", || smtp(&host, "open") == 0);

    // All are taken.
    let mut standing = begun(&host, source(1, 0)).expect("a session");
    thread::sleep(Duration::from_millis(500));
    let taken = descriptors(&daemon);
    let free = (0..).find(|number| !taken.contains(number)).expect("a number");
    limit_descriptors(&daemon, free, 400);
    let told = standing.told("RCPT TO:<bob@example.org>");
    assert!(told.starts_with("451 4.4.1 "), "{told}");
    let mut waiting: Vec<_> =
        (0..20).map(|number| open(&host, source(2, number)).expect("the kernel accepts")).collect();
    let failed = || host.home.log().matches("cannot accept connections for now").count();
    wait_for("a word in the log", || failed() > 0);
    let before = processor_time(&daemon);
    thread::sleep(Duration::from_secs(2));
    let taken = processor_time(&daemon) - before;
    assert!(taken < Duration::from_millis(600), "{taken:?} of 2 s");
    assert_eq!(failed(), 1);
    daemon.signal(Signal::SIGHUP);
    wait_for("what became of the reload", || {
        let log = host.home.log();
        log.lines().any(|line| line.contains("reload") && line.contains("Too many open files"))
    });
    wait_for("an alarm", || host.home.log().contains("ALARM: connections cannot be accepted"));

    // And given back.
    limit_descriptors(&daemon, 400, 400);
    for client in &mut waiting {
        let greeting = client.line().expect("a greeting");
        assert!(greeting.starts_with("220 "), "{greeting}");
    }
    standing.told("RSET");
    standing.told("MAIL FROM:<a@b.example>");
    assert!(standing.told("RCPT TO:<bob@example.org>").starts_with("250 "));
    deliver(&host, source(1, 1)).expect("delivered");
    _ = host.home.json(&["reload"]);
    wait_for("the end of the alarm", || !alarms(&host).contains("cannot be accepted"));
}

#[test]
fn a_limit_of_memory_defers_mail_and_kills_nobody() {
    const LIMIT: u64 = 128 << 20;
    const CLIENTS: usize = 400;
    raise_descriptors(4000);
    let group = MemoryGroup::new(LIMIT);
    let host = host("connections_per_address = 1000", "", "");
    let sink = Sink::start(&host.namespace, PORT, &["-m", "1000"]);
    let script = format!("echo $$ > {} && exec \"$@\"", group.processes().display());
    let daemon = host.home.start_under(&["sh", "-c", &script, "sh"], &host.namespace);

    // More messages at once than fit, to a mail system that takes none.
    let mut sessions = Vec::new();
    let mut deferred = 0;
    for number in 0..CLIENTS {
        let mut session = begun(&host, source(1, number)).expect("a session");
        let told = session.told("RCPT TO:<bob@example.org>");
        if told.starts_with("250 ") {
            assert!(session.told("DATA").starts_with("354 "));
            sessions.push(session);
        } else {
            assert!(told.starts_with("451 4.3.1 "), "{told}");
            deferred += 1;
        }
    }
    assert!(sessions.len() >= 100 && deferred > 0, "{} and {deferred}", sessions.len());
    let accepted = smtp(&host, "accepted");
    signal(sink.pid(), Signal::SIGSTOP);
    let before = resident(&daemon);
    let message = [&[b'x'; 62][..], b"\r\n"].concat().repeat(1 << 14);
    let mut sent = vec![0; sessions.len()];
    for _ in 0..10 {
        for (session, sent) in sessions.iter_mut().zip(&mut sent) {
            *sent += session.send_what_fits(&message[*sent..]);
        }
        thread::sleep(Duration::from_millis(200));
    }
    // They take what a session may, and no more.
    let grown = (resident(&daemon) - before) << 20;
    let each = grown / sessions.len() as u64;
    assert!((64 << 10..256 << 10).contains(&each), "{each} octets each");
    assert!(group.used() <= LIMIT && group.killed() == 0, "{} bytes", group.used());
    assert_eq!(smtp(&host, "accepted"), accepted);
    // Most give up; the others' messages are whole when it goes on.
    drop(sessions.split_off(20));
    signal(sink.pid(), Signal::SIGCONT);
    for (session, sent) in sessions.iter_mut().zip(sent) {
        session.send(&message[sent..]);
        let told = session.told(".");
        assert!(told.starts_with("250 "), "{told}");
    }
    drop(sessions);
    wait_for("their end", || smtp(&host, "open") == 0);
    assert_eq!(smtp(&host, "accepted"), accepted + 20);
    deliver(&host, source(1, 0)).expect("delivered");

    // What is taken is nearly all that there is.
    let mut standing = begun(&host, source(2, 0)).expect("a session");
    group.set(group.used() + (1 << 20));
    wait_for("an alarm", || alarms(&host).contains("memory is short: "));
    assert!(standing.told("RCPT TO:<bob@example.org>").starts_with("451 4.3.1 "));
    for number in 1..20 {
        let told = begun(&host, source(2, number)).err().expect("no memory");
        assert!(told.starts_with("421 4.3.2 "), "{told}");
    }
    group.set(LIMIT);
    wait_for("the end of the alarm", || !alarms(&host).contains("memory is short: "));
    assert!(standing.told("RCPT TO:<bob@example.org>").starts_with("250 "));
    deliver(&host, source(2, 0)).expect("delivered");
    assert_eq!(group.killed(), 0);
    daemon.end(Signal::SIGTERM);
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).expect("a process id")), signal).expect("it runs");
}

#[test]
fn a_backend_that_takes_no_more_defers_and_recovers() {
    let host = host("", "connect_timeout = 1\nreply_timeout = 1", "");
    // It accepts no third connection; further ones wait in the kernel's queue.
    let _sink = Sink::start(&host.namespace, PORT, &["-m", "2"]);
    let _daemon = host.start();
    let mut served = Vec::new();
    wait_for("both places", || {
        let mut session = begun(&host, source(1, served.len())).expect("a session");
        if session.told("RCPT TO:<bob@example.org>").starts_with("250 ") {
            served.push(session);
        }
        served.len() == 2
    });
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..20)
            .map(|number| {
                let host = &host;
                scope.spawn(move || {
                    let mut session = begun(host, source(2, number)).expect("a session");
                    let start = Instant::now();
                    (session.told("RCPT TO:<bob@example.org>"), start.elapsed())
                })
            })
            .collect();
        for one in waiting {
            let (told, taken) = one.join().expect("a client");
            assert!(told.starts_with("451 4.4.1 "), "{told}");
            assert!(taken < Duration::from_secs(2) + PROMPT, "{taken:?}");
        }
    });
    wait_for("an alarm", || alarms(&host).contains("backend main at 127.0.0.1:2600"));
    for mut session in served {
        assert!(session.told("DATA").starts_with("354 "));
        assert!(session.told("Subject: x\r\n\r\nx\r\n.").starts_with("250 "));
        session.told("QUIT");
    }
    wait_for("its recovery", || deliver(&host, source(3, 0)).is_ok());
    wait_for("the end of the alarm", || !alarms(&host).contains("backend main"));
}

#[test]
fn name_servers_that_never_answer_hold_up_no_crowd() {
    const CROWD: usize = 300;
    raise_descriptors(4000);
    let more = "[dns]\nservers = [\"127.0.0.1:53\", \"127.0.0.1:5353\"]\ntimeout_ms = 1000\n\
                attempts = 1\n[reputation]\nbudget_ms = 1500\n[spf]\nbudget_ms = 1500\n\
                [[reputation.standard.zones]]\nname = \"std.example\"\ncodes = [\"127.0.0.2\"]\n\
                [[reputation.dynamic.zones]]\nname = \"dyn.example\"\ncodes = [\"127.0.0.2\"]\n";
    let host = host("", "", more);
    let _sink = Sink::start(&host.namespace, PORT, &["-m", "1000"]);
    // They take questions, and that is all.
    let _mute: Vec<_> = [53, 5353]
        .iter()
        .map(|port| {
            host.namespace.run(|| {
                let address = (Ipv4Addr::LOCALHOST, *port);
                let udp = UdpSocket::bind(address).expect("a socket");
                (udp, TcpListener::bind(address).expect("a socket"))
            })
        })
        .collect();
    let limited = ["prlimit", "--nofile=2000:2000", "--"];
    let daemon = host.home.start_under(&limited, &host.namespace);
    let most = AtomicUsize::new(0);
    thread::scope(|scope| {
        let crowd: Vec<_> = (0..CROWD)
            .map(|number| {
                let (host, daemon, most) = (&host, &daemon, &most);
                scope.spawn(move || {
                    let mut client = open(host, source(1, number)).expect("a connection");
                    assert!(client.line().expect("a greeting").starts_with("220 "));
                    client.told("EHLO c.example");
                    client.told(&format!("MAIL FROM:<a@sender{number}.example>"));
                    let start = Instant::now();
                    let told = client.told("RCPT TO:<bob@example.org>");
                    most.fetch_max(descriptors(daemon).len(), Ordering::Relaxed);
                    (told, start.elapsed())
                })
            })
            .collect();
        for one in crowd {
            let (told, taken) = one.join().expect("a client");
            assert!(told.starts_with("250 "), "{told}");
            assert!(taken < Duration::from_secs(3) + PROMPT, "{taken:?}");
        }
    });
    let most = most.into_inner();
    assert!(most < 1500, "{most} descriptors");
    assert!(!host.home.log().contains("Too many open files"), "{}", host.home.log());
    wait_for("an alarm", || alarms(&host).contains("DNS list std.example"));
}

/// A file system in a folder, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn new(folder: PathBuf, size: &str) -> Self {
        fs::create_dir(&folder).expect("a folder");
        let options = format!("size={size},mode=0700");
        mount(Some("state"), &folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .expect("a file system (root)");
        Self(folder)
    }

    /// Leaves no room on it, and gives the file that takes all.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = fs::File::create(&path).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_state_folder_refuses_changes_that_would_not_last() {
    let host = host("", "", "");
    let record = format!("[record]\nfolder = \"{}\"\n", host.home.path("record").display());
    let text = fs::read_to_string(host.home.path("mxdp.toml")).expect("the configuration");
    host.home.write("mxdp.toml", text + &record);
    let disk = Disk::new(host.home.path("state"), "256k");
    let _sink = Sink::start(&host.namespace, PORT, &[]);
    let daemon = host.start();
    let kernel = |address: &str, daemon: &Daemon<'_>| -> Value {
        daemon.look_up(address.parse().expect("an address"))["kernel"]["action"].clone()
    };
    let kept = "198.51.100.1";
    _ = host.home.json(&["block", "add", kept]);
    let ballast = disk.fill();
    let refused = host.home.run(&["block", "add", "198.51.100.2", "--note", &"x".repeat(200)]);
    assert!(!refused.status.success());
    let text = said(&refused);
    assert!(text.contains("were not saved") && text.contains("No space left"), "{text}");
    // As it was, and not half of it.
    assert_eq!(kernel("198.51.100.2", &daemon), "pass");
    assert_eq!(kernel(kept, &daemon), "drop");
    assert_eq!(host.home.json(&["block", "list"]).as_array().map(Vec::len), Some(1));
    // What lapses by itself needs no disk, nor do mail and lists.
    _ = host.home.json(&["temp", "add", "198.51.100.3", "--for", "10m"]);
    assert_eq!(kernel("198.51.100.3", &daemon), "drop");
    deliver(&host, source(1, 0)).expect("delivered");
    _ = host.home.json(&["reload"]);
    fs::remove_file(ballast).expect("removed");
    _ = host.home.json(&["block", "add", "198.51.100.2"]);
    assert_eq!(kernel("198.51.100.2", &daemon), "drop");
    daemon.end(Signal::SIGTERM);
    let daemon = host.start();
    assert_eq!(kernel("198.51.100.2", &daemon), "drop");
    assert_eq!(kernel(kept, &daemon), "drop");
}
