//! The mail log and the audit trail: which entries are lost when, and how that is reported.

use std::fs;
use std::path::PathBuf;

use mxdp_tests::daemon::{Home, wait_for};
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::files::files_below;
use mxdp_tests::http::Http;
use mxdp_tests::mail::{Host, backend, domain};
use nix::sys::signal::Signal;
use serde_json::Value;

const SITE: &str = "http://127.0.0.1:8025";

/// A host whose backend nobody needs, with a console.
fn host() -> Host {
    let host = Host::new();
    let rest = format!(
        "[web]\nloopback = \"write\"\n{}{}",
        domain("example.org", "main", ""),
        backend("main", 2600, "")
    );
    host.configure("", &rest);
    host
}

/// Has a recipient refused, which is an entry of the mail log.
fn refuse(host: &Host, number: usize) {
    let client = "127.0.0.1".parse().expect("an address");
    let server = "127.0.0.1:25".parse().expect("an address and port");
    let mut session = Dialogue::open(&host.namespace, client, server).expect("a connection");
    session.line().expect("a greeting");
    session.told("EHLO client.example");
    session.told("MAIL FROM:<a@client.example>");
    let reply = session.told(&format!("RCPT TO:<u{number}@elsewhere.example>"));
    assert!(reply.starts_with("554 5.7.1"), "{reply}");
    session.told("QUIT");
}

fn record_files(home: &Home) -> Vec<PathBuf> {
    let mut files = files_below(&home.path("state/record"));
    files.retain(|path| path.extension().is_some_and(|end| end == "sqlite"));
    files.sort();
    files
}

fn audit(home: &Home) -> Vec<String> {
    let changes = home.json_lines(&["audit"]);
    changes.iter().map(|change| change["what"].as_str().expect("a text").to_owned()).collect()
}

fn refused(home: &Home) -> Vec<Value> {
    home.json_lines(&["traffic", "blocked", "--all"])
}

/// Kind: damage is reported only to a client that asks.
#[test]
fn a_damaged_file_of_the_audit_trail_is_an_alarm_until_it_is_mended() {
    let host = host();
    let _daemon = host.start();
    _ = host.home.json(&["block", "add", "192.0.2.1"]);
    wait_for("a change", || audit(&host.home).len() == 1);
    let file = files_below(&host.home.path("state/record/audit")).remove(0);
    let good = fs::read(&file).expect("read");
    fs::write(&file, [&b"no JSON\n"[..], &good].concat()).expect("written");
    _ = audit(&host.home);
    let alarms = || host.home.json(&["status"])["alarms"].to_string();
    wait_for("an alarm", || {
        alarms().contains("1 damaged line skipped, so `mxdp audit` is partial")
    });
    assert!(alarms().contains(&file.display().to_string()), "{}", alarms());
    fs::write(&file, good).expect("written");
    wait_for("its end", || !alarms().contains("audit trail"));
}

/// Kind: what strangers make grow shares its room with what operators need. The audit trail
/// is in files of its own, which stay when those of the mail log go.
#[test]
fn the_audit_trail_outlives_every_file_of_the_mail_log() {
    let host = host();
    let daemon = host.start();
    for number in 0..3 {
        let network = format!("198.51.100.{number}");
        assert!(host.home.run(&["block", "add", &network]).status.success());
        refuse(&host, number);
    }
    wait_for("three entries", || refused(&host.home).len() == 3);
    wait_for("three changes", || audit(&host.home).len() == 3);
    daemon.end(Signal::SIGTERM);
    // What a flood of entries does by size, and time by age.
    for file in record_files(&host.home) {
        fs::remove_file(file).expect("removed");
    }
    let _daemon = host.start();
    assert_eq!(refused(&host.home).len(), 0);
    let kept = audit(&host.home);
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert!(kept[0].starts_with("block 198.51.100.2"), "{kept:?}");
    // The API and the console read the same.
    let http = Http::new(&host.namespace, SITE, None);
    assert_eq!(http.get("/api/v1/changes").json().as_array().map(Vec::len), Some(3));
    assert!(http.get("/changes").body.contains("block 198.51.100.0"));
}

/// Kind: what a former version kept elsewhere is forgotten by an upgrade. Changes that stand
/// among the entries of the mail log, where they were before, are in the audit trail.
#[test]
fn changes_that_a_former_version_kept_are_in_the_audit_trail() {
    let host = host();
    let daemon = host.start();
    refuse(&host, 0);
    wait_for("an entry", || refused(&host.home).len() == 1);
    daemon.end(Signal::SIGTERM);
    fs::remove_dir_all(host.home.path("state/record/audit")).expect("removed");
    let file = record_files(&host.home).remove(0);
    let insert = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\n\
                  c.execute(\"INSERT INTO change VALUES (1, 1795000000000, 'uid 0', \
                  'block 192.0.2.1/32', 'done')\")\nc.commit()\n";
    let written = std::process::Command::new("python3").args(["-c", insert]).arg(&file).status();
    assert!(written.expect("python3 starts").success());
    for _ in 0..2 {
        let daemon = host.start();
        assert_eq!(audit(&host.home), ["block 192.0.2.1/32"]);
        daemon.end(Signal::SIGTERM);
    }
}

/// Kind: one bad part of what is kept takes the rest with it. A damaged older file is put
/// aside by the first search that meets it; everything else is found, and the answer, an
/// alarm and the console say that it is partial.
#[test]
fn a_damaged_older_file_of_the_mail_log_costs_only_its_own_entries() {
    let host = host();
    let daemon = host.start();
    for number in 0..3 {
        refuse(&host, number);
    }
    wait_for("three entries", || refused(&host.home).len() == 3);
    daemon.end(Signal::SIGTERM);
    let newest = record_files(&host.home).remove(0);
    let first = newest.file_stem().and_then(|name| name.to_str()).expect("a name");
    let first = u64::from_str_radix(&first["record-".len()..], 16).expect("a number");
    // A day before, of a year in which there was no entry.
    let older = newest.with_file_name(format!("record-{:016x}.sqlite", first - (86_400_000 << 16)));
    fs::copy(&newest, &older).expect("copied");
    let daemon = host.start();
    assert!(refused(&host.home).len() >= 3);
    daemon.end(Signal::SIGTERM);
    let _daemon = host.start();
    fs::write(&older, "no longer a database ".repeat(2_000)).expect("damaged");
    for _ in 0..2 {
        assert_eq!(refused(&host.home).len(), 3);
        let http = Http::new(&host.namespace, SITE, None);
        let page = http.get("/api/v1/traffic?type=blocked").json();
        assert_eq!(page["partial"], true, "{page:#}");
        assert_eq!(page["records"].as_array().map(Vec::len), Some(3), "{page:#}");
        assert!(page["skipped"][0].as_str().is_some_and(|it| it.contains("damaged")), "{page:#}");
        assert_eq!(http.get("/api/v1/summary?since=7d").json()["partial"], true);
        assert!(http.get("/blocked").body.contains("Partial: "));
        let export = http.get("/api/v1/traffic.csv?type=blocked");
        assert_eq!(export.body.lines().count(), 4, "{}", export.body);
        assert!(export.header("content-disposition").contains("partial"));
    }
    assert!(!older.exists() && older.with_extension("sqlite.damaged").exists());
    wait_for("an alarm", || {
        let status = host.home.json(&["status"]);
        status["alarms"].to_string().contains("mail log: ")
    });
    // In words, beside the entries and not among them.
    let said = host.home.run(&["traffic", "blocked"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("the answer is partial"));
}
