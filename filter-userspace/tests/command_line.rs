//! The binary as its users see it: exit codes, errors, streams. It talks to a fake daemon
//! behind the real control socket.
#![allow(clippy::unwrap_used, reason = "a failed expectation ends a test")]

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mxdp::control::protocol::{
    EventStatus, Failure, FailureKind, GenerationStatus, KernelAnswer, LiveAnswer, RecordState,
    Request, Status, TemporaryStatus,
};
use mxdp::control::server::{ControlSocket, Desk, Incoming, Limits, serve};
use mxdp::lists::Answer;
use mxdp::runtime::{Addition, RuntimeEntries};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

/// A daemon with managed entries and without a kernel.
struct Daemon {
    folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = ControlSocket::bind(&folder.path().join("mxdp.sock")).unwrap();
        let (stop, mut stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let (sender, mut incoming) = mpsc::channel(16);
                let desk = Desk { requests: sender, audit: Arc::new(|_| ()) };
                let answers = async {
                    let mut entries = RuntimeEntries::default();
                    loop {
                        tokio::select! {
                            Some(incoming) = incoming.recv() => answer(incoming, &mut entries),
                            _ = &mut stopped => break,
                        }
                    }
                    drop(incoming);
                };
                let (served, ()) = tokio::join!(serve(&socket, desk, Limits::default()), answers);
                served.unwrap();
            });
        });
        Self { folder, stop: Some(stop), thread: Some(thread) }
    }

    fn mxdp(&self, words: &str) -> Command {
        let mut command = mxdp(words);
        command.arg("--socket").arg(self.folder.path().join("mxdp.sock"));
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(incoming: Incoming, entries: &mut RuntimeEntries) {
    match incoming.request.clone() {
        Request::Status => incoming.answer(Ok(status())),
        Request::Lookup { addresses } => {
            incoming.answer(Ok(addresses.into_iter().map(live).collect::<Vec<_>>()));
        }
        Request::RuntimeAdd { list, prefix, note, expires_in_s, permanent, force } => {
            let addition = Addition { list, prefix, note, expires_in_s, permanent, force };
            let added = entries.add(addition, 1_795_407_247).map(|added| added.entry);
            incoming.answer(added.map_err(Failure::from));
        }
        Request::RuntimeRemove { list, prefix } => {
            incoming.answer(entries.remove(list, prefix).map_err(Failure::from));
        }
        Request::RuntimeList { list } => {
            incoming.answer(Ok(entries.list(list).collect::<Vec<_>>()));
        }
        _ => incoming.answer::<()>(Err(Failure {
            kind: FailureKind::Configuration,
            message: "mxdp.toml:3: unknown key `prots`\na.txt:1: no address".to_owned(),
        })),
    }
}

/// Every address is unlisted; for 192.0.2.66 the kernel's verdict differs.
fn live(ip: IpAddr) -> LiveAnswer {
    let agree = ip.to_string() != "192.0.2.66";
    let answer = Answer {
        ip,
        class: "none".to_owned(),
        action: "pass".to_owned(),
        prefix: None,
        source: None,
        note: None,
        country: None,
        listed: Vec::new(),
    };
    let (reason, action) = if agree { ("unlisted", "pass") } else { ("blocked_ip", "drop") };
    let kernel =
        KernelAnswer { reason: reason.to_owned(), action: action.to_owned(), listed: Vec::new() };
    LiveAnswer { answer, temporary: None, kernel, agree }
}

fn status() -> Status {
    Status {
        version: "0.1.0".to_owned(),
        pid: 1,
        uptime_s: 1,
        config: "mxdp.toml".to_owned(),
        alarms: vec!["this is a fake daemon".to_owned()],
        interfaces: Vec::new(),
        ports: vec![25],
        record: RecordState::default(),
        generation: GenerationStatus {
            number: 1,
            since: 0,
            build_ms: 1,
            lists: Vec::new(),
            ipv4_prefixes: 0,
            ipv6_prefixes: 0,
            ipv4_engine: None,
            ipv6_engine: None,
            warnings: Vec::new(),
            runtime_entries: 0,
            enforcement: Vec::new(),
        },
        failed_reload: None,
        counters: Vec::new(),
        events: EventStatus { unattributed: 0, read: 0, lost: 0 },
        temporary: TemporaryStatus { held: 0, capacity: 1 },
        top_sources: Vec::new(),
        smtp: None,
        certificates: Vec::new(),
    }
}

fn mxdp(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mxdp"));
    command.args(words.split_whitespace()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit code, standard output and standard error.
fn outcome(mut command: Command) -> (i32, String, String) {
    text(command.output().unwrap())
}

fn text(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json_of(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn without_a_daemon_the_exit_code_is_4() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock").display().to_string();
    for command in ["status", "status --watch", "reload", "temp list", "lookup --live 192.0.2.1"] {
        let (code, out, error) = outcome(mxdp(&format!("{command} --socket {socket}")));
        let expected = format!(
            "error: mxdp is not running (no socket at {socket}). Start it: `systemctl start mxdp`; another instance: `--socket`\n"
        );
        assert_eq!((code, out.as_str(), error), (4, "", expected), "{command}");
    }
    let (code, out, error) = outcome(mxdp(&format!("block list --json --socket {socket}")));
    assert_eq!((code, out.as_str()), (4, ""));
    assert_eq!(json_of(&error)["error"]["kind"], "not_running");
}

#[test]
fn an_invalid_command_line_has_exit_code_2() {
    for words in ["", "frobnicate", "lookup", "check --socket /x", "temp add 192.0.2.1 --for 0s"] {
        let (code, out, error) = outcome(mxdp(words));
        assert_eq!((code, out.as_str()), (2, ""), "{words}");
        assert!(!error.is_empty());
        if !words.is_empty() {
            let (code, _, error) = outcome(mxdp(&format!("{words} --json")));
            assert_eq!((code, json_of(&error)["error"]["kind"].clone()), (2, json!("usage")));
        }
    }
    let (code, out, _) = outcome(mxdp("help"));
    assert_eq!(code, 0);
    assert!(out.contains("Usage: mxdp"));
}

#[test]
fn managed_entries_are_added_listed_and_removed() {
    let daemon = Daemon::start();
    let mut add = daemon.mxdp("block add 192.0.2.77/24 --for 2h30m");
    add.args(["--note", "spam run"]);
    let expected = "Blocked 192.0.2.0/24 for 2h 30m, until 2026-11-23 06:44:07 UTC\n";
    assert_eq!(outcome(add), (0, expected.to_owned(), String::new()));

    let (code, out, _) = outcome(daemon.mxdp("block list --json"));
    let entry = json!({
        "list": "blocked", "prefix": "192.0.2.0/24", "note": "spam run",
        "added_at": 1_795_407_247_u64, "expires_at": 1_795_416_247_u64,
    });
    assert_eq!((code, json_of(&out)), (0, json!([entry])));
    let nothing = (0, "No managed approvals.\n".to_owned(), String::new());
    assert_eq!(outcome(daemon.mxdp("approve list")), nothing);

    let (code, _, error) = outcome(daemon.mxdp("block add ::/0"));
    assert_eq!(code, 1);
    assert!(error.contains("use --force"), "{error}");
    assert_eq!(outcome(daemon.mxdp("block add ::/0 --force")).0, 0);

    assert_eq!(outcome(daemon.mxdp("block remove 192.0.2.0/24")).0, 0);
    let (code, _, error) = outcome(daemon.mxdp("block remove 192.0.2.0/24 --json"));
    assert_eq!((code, json_of(&error)["error"]["kind"].clone()), (1, json!("not_found")));
}

#[test]
fn errors_of_the_configuration_have_exit_code_3() {
    let daemon = Daemon::start();
    let (code, out, error) = outcome(daemon.mxdp("reload"));
    assert_eq!((code, out.as_str()), (3, ""));
    assert_eq!(error, "error: mxdp.toml:3: unknown key `prots`\na.txt:1: no address\n");
}

#[test]
fn a_verdict_that_differs_is_an_error_with_exit_code_5() {
    let daemon = Daemon::start();
    let (code, out, error) = outcome(daemon.mxdp("lookup --live 192.0.2.1 192.0.2.66"));
    assert_eq!((code, out.lines().count()), (5, 2));
    assert!(
        error.starts_with("error: 192.0.2.66: the kernel's verdict differs from the lists"),
        "{error}"
    );

    let (code, out, error) = outcome(daemon.mxdp("lookup --live --json 192.0.2.66"));
    assert_eq!((code, json_of(&out)["agree"].clone()), (5, json!(false)));
    assert_eq!(json_of(&error)["error"]["kind"], "disagreement");
}

#[test]
fn a_hundred_thousand_addresses_stream() {
    let daemon = Daemon::start();
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("senders.txt");
    let mut lines = String::from("no address\n");
    for n in 0..100_000_u32 {
        lines.push_str(&format!("{}\n", std::net::Ipv4Addr::from(0x0a00_0000 + n)));
    }
    std::fs::write(&path, lines).unwrap();
    let start = Instant::now();
    let mut lookup = daemon.mxdp("lookup --live --json -");
    lookup.stdin(std::fs::File::open(&path).unwrap());
    let (code, out, error) = outcome(lookup);
    assert_eq!((code, out.lines().count()), (1, 100_000));
    assert_eq!(json_of(out.lines().last().unwrap())["ip"], "10.1.134.159");
    let message = "standard input, line 1: `no address` is not an address";
    assert_eq!(json_of(&error)["error"]["message"], message);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn an_answer_does_not_wait_for_the_next_question() {
    let daemon = Daemon::start();
    let mut child = daemon.mxdp("lookup --live -").stdin(Stdio::piped()).spawn().unwrap();
    let mut questions = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    for ip in ["192.0.2.1", "2001:db8::1"] {
        writeln!(questions, "{ip}").unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert!(line.starts_with(ip), "{line}");
    }
    drop(questions);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_goes_away_ends_the_command_without_an_error() {
    let daemon = Daemon::start();
    for words in ["status --watch --json", "status --watch", "lookup --live -"] {
        let mut child = daemon.mxdp(words).stdin(Stdio::piped()).spawn().unwrap();
        let mut questions = child.stdin.take().unwrap();
        let feeder = thread::spawn(move || {
            // Writes until the reader has gone away.
            while questions.write_all(b"192.0.2.1\n").is_ok() {}
        });
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        drop(reader);
        let (code, _, error) = text(child.wait_with_output().unwrap());
        assert_eq!((code, error.as_str()), (0, ""), "{words}");
        feeder.join().unwrap();
    }
}

#[test]
fn watching_ends_when_it_is_interrupted() {
    let daemon = Daemon::start();
    let mut child = daemon.mxdp("status --watch --json").spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..2 {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(json_of(&line)["alarms"], json!(["this is a fake daemon"]));
    }
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
