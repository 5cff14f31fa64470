//! The record: what real clients did is found, whole and harmless, and outlives what
//! happens to disk and daemon.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mxdp_tests::daemon::wait_for;
use mxdp_tests::dialogue::{Dialogue, is_dropped};
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::netns::Namespace;
use mxdp_tests::peers::clients::{said, smtp_source, swaks};
use mxdp_tests::peers::postfix::{Options, Postfix};
use mxdp_tests::peers::relays::Sink;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use serde_json::Value;

const PORT: u16 = 2600;

const LISTS: &str = r#"
[blocked]
addresses = ["192.0.2.66", "2001:db8:66::/48"]
files = ["blocked.txt"]
[known_spam_sources]
addresses = ["192.0.2.67"]
[enforcement]
known_spam_source = "reject"
[countries]
folder = "countries"
[senders]
blocked = ["*@spam.example"]
[tls]
self_signed = true
[smtp]
message_size = 100000
"#;

/// A host whose clients have these addresses, with Postfix behind.
fn host() -> (Host, Postfix) {
    let host = Host::new();
    for address in ["192.0.2.7/32", "192.0.2.66/32", "192.0.2.67/32", "192.0.2.99/32"] {
        host.namespace.ip(&format!("addr add {address} dev lo"));
    }
    for address in ["2001:db8::7/128", "2001:db8:66::1/128"] {
        host.namespace.ip(&format!("addr add {address} dev lo nodad"));
    }
    let options = Options {
        port: PORT,
        domains: &["example.org", "例子.example"],
        recipients: &["bob@example.org", "用户@例子.example", "用户@xn--fsqu00a.example"],
        ..Options::default()
    };
    let postfix = Postfix::start(&host.namespace, &options);
    fs::create_dir(host.home.path("countries")).expect("a folder");
    host.home.write("countries/at.cidr", "192.0.2.0/25\n2001:db8::/32\n");
    host.home.write("blocked.txt", "# by hand\n192.0.2.99\n");
    let domains = "[[domain]]\nnames = [\"example.org\", \"例子.example\"]\nbackend = \"main\"\n";
    let listen =
        "[listen]\nsmtp = [\"127.0.0.1:25\", \"[::1]:25\"]\nhostname = \"mx.example.org\"\n";
    let rest = format!("{listen}{LISTS}{domains}{}", backend("main", PORT, ""));
    host.home.configure("interfaces = [\"lo\"]\nmode = \"generic\"", &rest);
    (host, postfix)
}

fn connect(host: &Host, source: &str) -> Dialogue {
    let source: IpAddr = source.parse().expect("an address");
    let target = if source.is_ipv4() { "127.0.0.1:25" } else { "[::1]:25" };
    let target: SocketAddr = target.parse().expect("an address and port");
    Dialogue::open(&host.namespace, source, target).expect("a connection")
}

/// Searches until there are `count` records, which takes at most a moment.
fn find(host: &Host, arguments: &[&str], count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    let arguments = [&["traffic"], arguments].concat();
    wait_for(&format!("{count} records of {arguments:?}"), || {
        found = host.home.json_lines(&arguments);
        found.len() >= count
    });
    assert_eq!(found.len(), count, "{found:#?}");
    found
}

fn one(host: &Host, arguments: &[&str]) -> Value {
    find(host, arguments, 1).remove(0)
}

/// Asserts what some columns of a record say.
#[track_caller]
fn says(record: &Value, columns: &[(&str, &str)]) {
    for (column, value) in columns {
        let is = match &record[*column] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        assert_eq!(is, *value, "{column} of {record:#}");
    }
}

#[test]
fn every_column_is_what_happened() {
    let (host, postfix) = host();
    let daemon = host.start();
    let send = |more: &[&str]| {
        let common = ["--server", "127.0.0.1", "--helo", "client.example"];
        swaks(&host.namespace, &[&common, more].concat())
    };
    // Delivered, by TLS.
    let message = ["--from", "a@b.example", "--to", "bob@example.org", "--tls"];
    let header = ["--header", "Subject: Größe 1", "--add-header", "Message-ID: <m1@b.example>"];
    let output = send(&[&message[..], &header, &["--local-interface", "192.0.2.7"]].concat());
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(postfix.wait_for(1).len(), 1);
    let delivered = one(&host, &["accepted", "--sender", "a@b.example"]);
    says(
        &delivered,
        &[
            ("type", "accepted"),
            ("status", "delivered"),
            ("reason", "accepted"),
            ("stage", "backend"),
            ("direction", "inbound"),
            ("ip", "192.0.2.7"),
            ("country", "AT"),
            ("sender", "a@b.example"),
            ("recipient", "bob@example.org"),
            ("helo", "client.example"),
            ("backend", "main at 127.0.0.1:2600"),
            ("message_id", "m1@b.example"),
            ("subject", "Größe 1"),
            ("from", "a@b.example"),
            ("count", "1"),
        ],
    );
    let text = |record: &Value, column: &str| record[column].as_str().unwrap_or("").to_owned();
    assert!(text(&delivered, "reply").starts_with("250 2.0.0 Ok: queued as "), "{delivered:#}");
    assert!(text(&delivered, "tls").starts_with("TLSv1.3 "), "{delivered:#}");
    assert!(delivered["size"].as_u64() > Some(100), "{delivered:#}");

    // Rejected by the backend, beside one that it takes.
    send(&["--from", "c@b.example", "--to", "bob@example.org,nobody@example.org"]);
    let found = find(&host, &["accepted", "--sender", "c@b.example"], 2);
    let rejected = found.iter().find(|record| record["status"] == "permanent").expect("one");
    says(rejected, &[("reason", "backend_refused"), ("recipient", "nobody@example.org")]);
    assert!(text(rejected, "reply").starts_with("550 5.1.1 <nobody@example.org>"), "{rejected:#}");

    // Ours: by sender, size, address with `reject`.
    send(&["--from", "x@spam.example", "--to", "bob@example.org"]);
    let blocked = one(&host, &["blocked", "--sender", "*@spam.example"]);
    says(&blocked, &[("stage", "sender"), ("reason", "blocked_sender"), ("status", "permanent")]);
    assert!(text(&blocked, "rule").contains("mxdp.toml:"), "{blocked:#}");
    assert!(text(&blocked, "reply").ends_with(&text(&blocked, "reference")), "{blocked:#}");
    let mut client = connect(&host, "192.0.2.7");
    client.line().expect("a greeting");
    client.told("EHLO c.example");
    assert!(client.told("MAIL FROM:<big@b.example> SIZE=100001").starts_with("552 5.3.4"));
    client.told("QUIT");
    let large = one(&host, &["blocked", "--sender", "big@*"]);
    says(&large, &[("reason", "declared_size"), ("status", "permanent"), ("recipient", "null")]);
    let shown = host.home.run(&["traffic", "blocked", "--sender", "big@*"]);
    assert!(said(&shown).contains("declared_size (Size limit)"), "{}", said(&shown));
    let mut client = connect(&host, "192.0.2.67");
    client.line().expect("a greeting");
    client.told("EHLO c.example");
    client.told("MAIL FROM:<>");
    assert!(client.told("RCPT TO:<bob@example.org>").starts_with("550 5.7.1"));
    client.told("QUIT");
    let spam = one(&host, &["blocked", "--ip", "192.0.2.67"]);
    says(&spam, &[("reason", "known_spam_source"), ("sender", ""), ("stage", "connection")]);

    // IPv6 and SMTPUTF8.
    let mut client = connect(&host, "2001:db8::7");
    client.line().expect("a greeting");
    client.told("EHLO c.example");
    assert!(client.told("MAIL FROM:<ännä@bücher.example> SMTPUTF8").starts_with("250"));
    assert!(client.told("RCPT TO:<用户@例子.example>").starts_with("250"));
    assert!(client.told("DATA").starts_with("354"));
    assert!(client.told("Subject: 会议\r\n\r\nx\r\n.").starts_with("250"));
    client.told("QUIT");
    for search in [
        ["--sender", "ÄNNÄ@*"],
        ["--recipient", "*@例子.example"],
        ["--text", "会议"],
        ["--ip", "2001:db8::/48"],
    ] {
        let record = one(&host, &[&["accepted"], &search[..]].concat());
        says(&record, &[("ip", "2001:db8::7"), ("sender", "ännä@bücher.example")]);
        says(&record, &[("recipient", "用户@例子.example"), ("subject", "会议")]);
    }

    // Dropped before SMTP: no sender, no recipient, and an estimate.
    let target = "127.0.0.1:25".parse().expect("an address and port");
    for source in ["192.0.2.66", "192.0.2.99"] {
        assert!(is_dropped(&host.namespace, source.parse().expect("an address"), target));
    }
    let target = "[::1]:25".parse().expect("an address and port");
    let source = "2001:db8:66::1".parse().expect("an address");
    assert!(is_dropped(&host.namespace, source, target));
    let dropped = find(&host, &["blocked", "--status", "dropped"], 3);
    for record in &dropped {
        says(record, &[("stage", "syn"), ("reason", "blocked_ip"), ("type", "blocked")]);
        assert!(record["sender"].is_null() && record["recipient"].is_null(), "{record:#}");
        assert!(record["count"].as_u64() >= Some(1), "{record:#}");
    }
    let by_file = one(&host, &["blocked", "--ip", "192.0.2.99"]);
    assert!(text(&by_file, "rule").ends_with("blocked.txt:2 (192.0.2.99/32)"), "{by_file:#}");
    one(&host, &["blocked", "--ip", "2001:db8:66::/48", "--country", "at"]);

    // Everything about a reference, and an unknown one.
    let reference = text(&spam, "reference");
    let output = said(&host.home.run(&["traffic", "show", &reference]));
    for part in ["Permanent", "known_spam_source", "mxdp.toml:", "192.0.2.67", &reference] {
        assert!(output.contains(part), "{part} in {output}");
    }
    let missing = host.home.run(&["traffic", "show", "0000000000000-1"]);
    assert_eq!(missing.status.code(), Some(1), "{}", said(&missing));
    let wrong = host.home.run(&["traffic", "blocked", "--reason", "because", "--ip", "x"]);
    let wrong = said(&wrong);
    assert!(
        wrong.contains("reason: `because` is not one of") && wrong.contains("ip: `x` is neither")
    );

    // All of it again after a restart.
    let all = |kind| host.home.json_lines(&["traffic", kind, "--all"]);
    let before = [all("blocked"), all("accepted")];
    daemon.end(Signal::SIGTERM);
    let _daemon = host.start();
    assert_eq!([all("blocked"), all("accepted")], before);
}

#[test]
fn what_hostile_clients_write_is_harmless() {
    let (host, _postfix) = host();
    let _daemon = host.start();
    let mut client = connect(&host, "192.0.2.7");
    client.line().expect("a greeting");
    client.told("HELO <script>alert(1)</script>");
    client.told("EHLO =cmd|' /C calc'!A0");
    client.told("MAIL FROM:<\"=1+1,\\\"x\"@b.example>");
    client.told("RCPT TO:<bob@example.org>");
    client.told("DATA");
    let subject = "=?utf-8?q?=3DHYPERLINK=28=22http://x/=22=29=0D=0A=1B[2J_forged?=";
    let end = client.told(&format!("Subject: {subject}\r\n\r\nx\r\n."));
    assert!(end.starts_with("250"), "{end}");
    client.told("QUIT");
    one(&host, &["accepted"]);

    let csv = host.home.run(&["traffic", "accepted", "--csv"]);
    let csv = String::from_utf8(csv.stdout).expect("UTF-8");
    assert_eq!(csv.matches("\r\n").count(), 2, "{csv:?}");
    assert!(csv.chars().all(|c| !c.is_control() || c == '\r' || c == '\n'), "{csv:?}");
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let row = rows.records().next().expect("a row").expect("CSV");
    for cell in &row {
        assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell:?}");
    }
    assert!(row.iter().any(|cell| cell.starts_with("'=HYPERLINK(\"http://x/\")")), "{row:?}");

    let log = host.home.log();
    let forged = log.lines().any(|line| line.contains("forged") && !line.contains("subject="));
    assert!(!forged && !log.contains('\u{1b}'), "{log}");
    for arguments in [&["traffic", "accepted"][..], &["traffic", "accepted", "--json"]] {
        let text = said(&host.home.run(arguments));
        assert!(text.chars().all(|c| !c.is_control() || c == '\n'), "{text:?}");
    }
}

#[test]
fn changes_are_recorded_with_who_and_what() {
    let (host, _postfix) = host();
    let _daemon = host.start();
    host.home.json(&["block", "add", "198.51.100.0/24", "--note", "by hand", "--for", "1h"]);
    let refused = host.home.run(&["block", "add", "0.0.0.0/0"]);
    assert!(!refused.status.success());
    host.home.json(&["block", "remove", "198.51.100.0/24"]);
    host.home.json(&["temp", "add", "198.51.100.7", "--for", "10m"]);
    host.home.json(&["lookup", "--live", "198.51.100.7"]);
    let mut changes = Vec::new();
    wait_for("four changes", || {
        changes = host.home.json_lines(&["audit"]);
        changes.len() >= 4
    });
    let what: Vec<_> = changes.iter().map(|change| change["what"].as_str().unwrap_or("")).collect();
    assert_eq!(
        what,
        [
            "block 198.51.100.7 temporarily, for 600 s",
            "no longer block 198.51.100.0/24",
            "block 0.0.0.0/0",
            "block 198.51.100.0/24 for 3600 s (by hand)",
        ]
    );
    let outcome = changes[2]["outcome"].as_str().unwrap_or("");
    assert!(outcome.starts_with("refused: "), "{outcome}");
    for change in &changes {
        assert!(change["who"].as_str().is_some_and(|who| who.starts_with("uid 0, pid ")));
    }
    assert_eq!(host.home.json_lines(&["audit", "--limit", "1"]).len(), 1);
}

/// Sends messages one after the other until told to stop; counts those that were
/// taken.
fn keep_sending(namespace: &Namespace, stop: &AtomicBool, taken: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let arguments = ["-s", "1", "-m", "20", "-f", "a@b.example", "-t", "bob@example.org"];
        let output = smtp_source(namespace, &[&arguments[..], &["127.0.0.1:25"]].concat());
        if output.status.success() {
            taken.fetch_add(20, Ordering::Relaxed);
        }
    }
}

/// Ends the sender when it goes, also by a panic.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A host with smtp-sink behind, and its record in a file system of its own.
fn small_disk(size: &str) -> (Host, Sink, Disk) {
    let host = Host::new();
    let sink = Sink::start(&host.namespace, PORT, &[]);
    let folder = host.home.path("disk");
    fs::create_dir(&folder).expect("a folder");
    let options = format!("size={size}");
    mount(Some("disk"), &folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
        .expect("a file system");
    let rest = format!(
        "[record]\nfolder = \"{}/record\"\n{}{}",
        folder.display(),
        domain("example.org", "main", ""),
        backend("main", PORT, "")
    );
    host.configure("", &rest);
    (host, sink, Disk(folder))
}

struct Disk(std::path::PathBuf);

impl Drop for Disk {
    fn drop(&mut self) {
        _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn record_status(host: &Host) -> Value {
    host.home.json(&["status"])["record"].clone()
}

fn has_alarm(host: &Host) -> bool {
    let status = host.home.json(&["status"]);
    let alarms = status["alarms"].as_array().expect("alarms");
    alarms.iter().any(|alarm| alarm.as_str().unwrap_or("").starts_with("records cannot be written"))
}

/// Runs `work` while mail is sent, and then finds all of it in the mail log.
fn while_mail_flows(host: &Host, work: impl FnOnce(&dyn Fn())) {
    let stop = AtomicBool::new(false);
    let taken = AtomicU64::new(0);
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| keep_sending(&host.namespace, &stop, &taken));
        work(&|| {
            let before = taken.load(Ordering::Relaxed);
            wait_for("mail flows", || taken.load(Ordering::Relaxed) >= before + 60);
        });
    });
    // Entries that could not be written waited in memory.
    wait_for("all records", || {
        let found = host.home.json_lines(&["traffic", "accepted", "--all"]);
        found.len() as u64 == taken.load(Ordering::Relaxed)
    });
    assert_eq!(record_status(host)["lost"], 0);
}

#[test]
fn mail_flows_while_the_disk_is_full() {
    let (host, _sink, disk) = small_disk("16m");
    let _daemon = host.start();
    while_mail_flows(&host, |flows| {
        wait_for("records", || record_status(&host)["records"].as_u64() >= Some(20));
        let ballast = disk.0.join("ballast");
        fill(&ballast);
        wait_for("an alarm", || has_alarm(&host));
        flows();
        fs::remove_file(&ballast).expect("removed");
        wait_for("the end of the alarm", || !has_alarm(&host));
        flows();
    });
}

#[test]
fn mail_flows_while_the_disk_is_read_only() {
    let (host, _sink, disk) = small_disk("16m");
    remount(&disk.0, MsFlags::MS_RDONLY);
    let _daemon = host.start();
    while_mail_flows(&host, |flows| {
        wait_for("an alarm", || has_alarm(&host));
        flows();
        remount(&disk.0, MsFlags::empty());
        wait_for("the end of the alarm", || !has_alarm(&host));
        flows();
    });
}

#[test]
fn records_that_find_no_room_are_an_alarm() {
    const ALARM: &str = "the queue of the mail log is full";
    let (host, _sink, disk) = small_disk("16m");
    remount(&disk.0, MsFlags::MS_RDONLY);
    let _daemon = host.start();
    // The queue has 65,536, and the writer 8,192 in its hands.
    let lots = ["-s", "10", "-m", "800", "-r", "100", "-f", "a@b.example", "-t", "bob@example.org"];
    let output = smtp_source(&host.namespace, &[&lots[..], &["127.0.0.1:25"]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let is_alarm = || {
        let status = host.home.json(&["status"]);
        let alarms = status["alarms"].as_array().expect("alarms");
        alarms.iter().any(|alarm| alarm.as_str().unwrap_or("").starts_with(ALARM))
    };
    wait_for("an alarm", is_alarm);
    // It is the same one while more is lost.
    for _ in 0..3 {
        let before = record_status(&host)["lost"].as_u64();
        let one = ["-f", "a@b.example", "-t", "bob@example.org", "127.0.0.1:25"];
        let output = smtp_source(&host.namespace, &one);
        assert!(output.status.success(), "{}", said(&output));
        wait_for("another loss", || record_status(&host)["lost"].as_u64() > before);
        // Alarms are looked for every second.
        thread::sleep(Duration::from_millis(1100));
    }
    assert!(is_alarm());
    let log = host.home.log();
    assert_eq!(log.matches(&format!("ALARM: {ALARM}")).count(), 1, "{log}");
    assert!(!log.contains("RESOLVED: the queue of the mail log"), "{log}");
}

/// Writes zeros until the disk is full.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::create(path).expect("a file");
    while file.write_all(&[0; 4096]).is_ok() {}
}

fn remount(path: &Path, flags: MsFlags) {
    let none: Option<&str> = None;
    mount(none, path, none, MsFlags::MS_REMOUNT | flags, none).expect("remounted");
}

#[test]
fn a_killed_daemon_loses_a_second_at_most() {
    let (host, _sink, _disk) = small_disk("64m");
    for round in 0..4 {
        let daemon = host.start();
        let stop = AtomicBool::new(false);
        let taken = AtomicU64::new(0);
        let before = host.home.json_lines(&["traffic", "accepted", "--all"]).len() as u64;
        let (settled, all) = thread::scope(|scope| {
            let guard = Stop(&stop);
            let sender = scope.spawn(|| keep_sending(&host.namespace, &stop, &taken));
            wait_for("traffic", || taken.load(Ordering::Relaxed) > 200);
            let settled = taken.load(Ordering::Relaxed);
            thread::sleep(Duration::from_secs(1));
            daemon.signal(Signal::SIGKILL);
            drop(guard);
            sender.join().expect("the sender");
            (settled, taken.load(Ordering::Relaxed))
        });
        drop(daemon);
        let daemon = host.start();
        let kept = host.home.json_lines(&["traffic", "accepted", "--all"]).len() as u64 - before;
        assert!(kept >= settled, "round {round}: {kept} of {settled} older than a second");
        // Those of the last message that smtp-source did not count.
        assert!(kept <= all + 20, "round {round}: {kept} of {all}");
        let log = host.home.log();
        assert!(!log.contains("damaged") && !log.contains("malformed"), "{log}");
        daemon.end(Signal::SIGTERM);
    }
}
