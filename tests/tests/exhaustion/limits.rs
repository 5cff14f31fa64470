//! Descriptors and memory.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use mxdp_tests::daemon::{Daemon, wait_for};
use mxdp_tests::limits::{MemoryGroup, raise_descriptors};
use mxdp_tests::peers::clients::said;
use mxdp_tests::peers::relays::Sink;
use mxdp_tests::resources::{Held, processor_time};
use nix::sys::signal::Signal;

use crate::{PORT, alarms, begun, deliver, host, open, signal, smtp, source};

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

    // All are in use.
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
    let before = processor_time(daemon.pid());
    thread::sleep(Duration::from_secs(2));
    let taken = processor_time(daemon.pid()) - before;
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
    let before = Held::by(daemon.pid()).resident;
    let message = [&[b'x'; 62][..], b"\r\n"].concat().repeat(1 << 14);
    let mut sent = vec![0; sessions.len()];
    for _ in 0..10 {
        for (session, sent) in sessions.iter_mut().zip(&mut sent) {
            *sent += session.send_what_fits(&message[*sent..]);
        }
        thread::sleep(Duration::from_millis(200));
    }
    // They take what a session may, and no more.
    let grown = Held::by(daemon.pid()).resident - before;
    let each = grown / sessions.len() as u64;
    assert!((16 << 10..256 << 10).contains(&each), "{each} octets each");
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

    // Nearly all of the memory is in use.
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
