//! The live view, in a pseudo-terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;

use mxdp_tests::daemon::{Daemon, wait_for};
use mxdp_tests::dialogue::is_dropped;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::peers::Process;
use mxdp_tests::peers::clients::{said, swaks};
use mxdp_tests::peers::relays::Sink;
use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use nix::sys::termios::{LocalFlags, tcgetattr};

const PORT: u16 = 2600;

fn host() -> (Host, Sink) {
    let host = Host::new();
    host.namespace.ip("addr add 192.0.2.66/32 dev lo");
    let sink = Sink::start(&host.namespace, PORT, &[]);
    let domain = domain("example.org", "main", "");
    let senders =
        "[blocked]\naddresses = [\"192.0.2.66\"]\n[senders]\nblocked = [\"*@spam.example\"]\n";
    host.configure("", &format!("{senders}{domain}{}", backend("main", PORT, "")));
    (host, sink)
}

fn traffic(host: &Host) {
    for sender in ["anna@b.example", "x@spam.example"] {
        let words = ["--server", "127.0.0.1", "--from", sender, "--to", "bob@example.org"];
        let output = swaks(&host.namespace, &words);
        assert_eq!(output.status.success(), sender == "anna@b.example", "{}", said(&output));
    }
    let target = "127.0.0.1:25".parse().expect("an address and port");
    assert!(is_dropped(&host.namespace, "192.0.2.66".parse().expect("an address"), target));
    wait_for("the record", || {
        host.home.json_lines(&["traffic", "blocked"]).len() == 2
            && host.home.json_lines(&["traffic", "accepted"]).len() == 1
    });
}

#[test]
fn scripts_get_an_object_per_refresh() {
    let (host, _sink) = host();
    let _daemon = host.start();
    traffic(&host);
    let looks = host.home.json_lines(&["top", "--count", "2", "--window", "30m"]);
    assert_eq!(looks.len(), 2);
    for look in &looks {
        assert_eq!(look["status"]["smtp"]["accepted"], 1);
        let decisions = look["summary"]["decisions"].as_array().expect("decisions");
        let reasons: Vec<_> =
            decisions.iter().filter_map(|decided| decided["reason"].as_str()).collect();
        for reason in ["accepted", "blocked_sender", "blocked_ip"] {
            assert!(reasons.contains(&reason), "{reason} in {reasons:?}");
        }
        let sources = look["summary"]["sources"].to_string();
        assert!(sources.contains("192.0.2.66"), "{sources}");
    }
    let output = host.home.run(&["top"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("--json"), "{}", said(&output));
}

/// A terminal of 100 columns and 32 rows, with `top` in it.
struct Terminal {
    master: File,
    slave: File,
    screen: Arc<Mutex<vt100::Parser>>,
    top: Process,
}

impl Terminal {
    fn start(host: &Host) -> Self {
        let size = Winsize { ws_row: 32, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).expect("a terminal");
        let (master, slave) = (File::from(pair.master), File::from(pair.slave));
        let end = || Stdio::from(slave.try_clone().expect("a terminal"));
        let mut command = host.home.mxdp(None, &["top"]);
        command.stdin(end()).stdout(end()).stderr(end());
        command.env_remove("NO_COLOR").env("TERM", "xterm-256color");
        let top = Process(command.spawn().expect("mxdp starts"));
        let screen = Arc::new(Mutex::new(vt100::Parser::new(32, 100, 0)));
        let (seen, mut from) = (screen.clone(), master.try_clone().expect("a terminal"));
        // Ends with the terminal.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                seen.lock().expect("the screen").process(&bytes[..count]);
            }
        });
        Self { master, slave, screen, top }
    }

    fn shows(&self) -> String {
        self.screen.lock().expect("the screen").screen().contents()
    }

    fn wait_for(&self, text: &str) {
        let found = || self.shows().contains(text);
        let mut looks = 0;
        wait_for(&format!("{text:?} on the screen"), || {
            looks += 1;
            if looks % 250 == 0 {
                eprintln!("{}", self.shows());
            }
            found()
        });
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).expect("a terminal").local_flags.contains(LocalFlags::ICANON)
    }

    /// Waits for the end of `top`, and for the terminal to be as it was.
    fn is_restored(&mut self) {
        let mut ended = None;
        wait_for("the end of top", || {
            ended = self.top.0.try_wait().expect("its state");
            ended.is_some()
        });
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
        assert!(!self.is_raw());
        wait_for("the former screen", || {
            let parser = self.screen.lock().expect("the screen");
            !parser.screen().alternate_screen() && !parser.screen().hide_cursor()
        });
    }
}

#[test]
fn a_terminal_is_filled_and_restored() {
    let (host, _sink) = host();
    let daemon = host.start();
    traffic(&host);
    let mut terminal = Terminal::start(&host);
    for text in [
        "Frames by verdict",
        "blocked_ip",
        "blocked_sender",
        "main 127.0.0.1:2600 up",
        "192.0.2.66",
        "Countries",
        "recipients per second: 0.0 accepted",
        "dropped SYNs, 1h",
    ] {
        terminal.wait_for(text);
    }
    println!("{}", terminal.shows());
    assert!(terminal.is_raw());
    terminal.master.write_all(b" ").expect("a key");
    terminal.wait_for("PAUSED");
    terminal.master.write_all(b" ").expect("a key");
    terminal.wait_for("space: pause");

    // The view shows that the daemon has ended, and that it is back.
    daemon.end(Signal::SIGTERM);
    terminal.wait_for("ALARM the daemon does not answer");
    let _daemon: Daemon<'_> = host.start();
    wait_for("the daemon's return", || !terminal.shows().contains("ALARM"));
    terminal.master.write_all(b"q").expect("a key");
    terminal.is_restored();

    // A signal restores the terminal too.
    let mut other = Terminal::start(&host);
    other.wait_for("Frames by verdict");
    let pid = i32::try_from(other.top.0.id()).expect("a process id");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
    other.is_restored();
}
