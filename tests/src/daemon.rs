//! The mxdp daemon under test: its folder, its bpf file system, its process.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::netns::Namespace;
use crate::pace::lasting;
use crate::peers::{self, Process};
use crate::tables;

/// How long anything that should happen soon may take on a busy machine, if it is not a
/// slow one.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `done` holds.
///
/// # Panics
///
/// When it does not within 20 seconds, or what they are on a slow machine.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < lasting(PATIENCE), "waited in vain for: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A folder with a configuration and a bpf file system of its own.
pub struct Home {
    folder: TempDir,
    bpf: PathBuf,
    binary: Mutex<PathBuf>,
}

impl Home {
    /// A new folder, with an empty bpf file system mounted in it.
    #[must_use]
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("mxdp-test-").expect("a folder");
        let bpf = folder.path().join("bpf");
        fs::create_dir(&bpf).expect("a folder");
        let none: Option<&str> = None;
        mount(Some("bpf"), &bpf, Some("bpf"), MsFlags::empty(), none)
            .expect("the bpf file system (root is needed)");
        Self { folder, bpf, binary: Mutex::new(peers::mxdp()) }
    }

    /// The program that commands are from now on, the daemon among them.
    pub fn use_binary(&self, path: &Path) {
        path.clone_into(&mut self.binary.lock().expect("the program"));
    }

    fn binary(&self) -> PathBuf {
        self.binary.lock().expect("the program").clone()
    }

    /// A path in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the folder.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("written");
    }

    /// Where the filter is pinned.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.bpf.join("mxdp")
    }

    /// Writes `mxdp.toml`: the paths of this folder, `filter` as the rest of
    /// that section, and `rest` behind it.
    pub fn configure(&self, filter: &str, rest: &str) {
        let text = format!(
            "[filter]\npin = \"{pins}\"\nengine = \"{engine}\"\n{filter}\n\
             [control]\nsocket = \"{folder}/mxdp.sock\"\n\
             [state]\nfolder = \"{folder}/state\"\n{rest}\n",
            pins = self.pins().display(),
            engine = tables::engine().0,
            folder = self.folder.path().display(),
        );
        self.write("mxdp.toml", text);
    }

    /// `mxdp VERB… -c mxdp.toml`, in `namespace` where one is given.
    #[must_use]
    pub fn mxdp(&self, namespace: Option<&Namespace>, arguments: &[&str]) -> Command {
        let mut command = match namespace {
            Some(namespace) => namespace.command(self.binary()),
            None => Command::new(self.binary()),
        };
        command.args(arguments).stdin(Stdio::null()).env("NO_COLOR", "1");
        let asks_the_daemon =
            !["run", "check"].contains(&arguments[0]) && !arguments.contains(&"-c");
        if asks_the_daemon {
            command.arg("--socket").arg(self.path("mxdp.sock"));
        }
        command
    }

    /// Runs a command to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.mxdp(None, arguments).output().expect("mxdp starts")
    }

    /// Runs a command with `--json`, which must succeed, and parses its output.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "mxdp {arguments:?}: {}\n{text}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The same for a command that prints one object per line.
    ///
    /// # Panics
    ///
    /// When it fails, or prints something else.
    pub fn json_lines(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(&[arguments, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "mxdp {arguments:?}: {error}\n{text}");
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        text.lines().map(parse).collect()
    }

    /// Starts the daemon and waits until it answers.
    #[must_use]
    pub fn start(&self, namespace: &Namespace) -> Daemon<'_> {
        self.start_by("run", namespace)
    }

    /// Starts the daemon by `run` or `trial` and waits until it answers.
    #[must_use]
    pub fn start_by(&self, verb: &str, namespace: &Namespace) -> Daemon<'_> {
        let config = self.path("mxdp.toml");
        let config = config.to_str().expect("a path in UTF-8");
        self.start_command(self.mxdp(Some(namespace), &[verb, "-c", config]))
    }

    /// Starts the daemon without these capabilities, as setpriv(1) names them, and
    /// waits until it answers.
    #[must_use]
    pub fn start_without(&self, capabilities: &[&str], namespace: &Namespace) -> Daemon<'_> {
        let dropped: Vec<_> = capabilities.iter().map(|name| format!("-{name}")).collect();
        let dropped = dropped.join(",");
        let (bounding, inherited) =
            (format!("--bounding-set={dropped}"), format!("--inh-caps={dropped}"));
        self.start_under(&["setpriv", &bounding, &inherited, "--"], namespace)
    }

    /// Starts the daemon by a program that executes another, such as prlimit(1), with
    /// its arguments, and waits until it answers.
    #[must_use]
    pub fn start_under(&self, program: &[&str], namespace: &Namespace) -> Daemon<'_> {
        let mut command = namespace.command(program[0]);
        command.args(&program[1..]);
        command.arg(self.binary()).arg("run").arg("-c").arg(self.path("mxdp.toml"));
        self.start_command(command)
    }

    /// Starts the daemon with more in its environment and waits until it answers.
    #[must_use]
    pub fn start_with(&self, namespace: &Namespace, environment: &[(&str, &str)]) -> Daemon<'_> {
        let config = self.path("mxdp.toml");
        let config = config.to_str().expect("a path in UTF-8");
        let mut command = self.mxdp(Some(namespace), &["run", "-c", config]);
        command.envs(environment.iter().copied());
        self.start_command(command)
    }

    /// Starts the daemon by a command that ends in it, and waits until it answers.
    #[must_use]
    pub fn start_command(&self, mut command: Command) -> Daemon<'_> {
        let log = File::options().create(true).append(true).open(self.path("log")).expect("a log");
        let child = command
            .stdin(Stdio::null())
            .env("NO_COLOR", "1")
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("mxdp starts");
        let mut daemon = Daemon { home: self, process: Process(child) };
        let start = Instant::now();
        while !self.run(&["status", "--json"]).status.success() {
            let ended = daemon.process.0.try_wait().expect("the daemon's state");
            assert!(ended.is_none(), "the daemon ended: {}", self.log());
            let patient = start.elapsed() < lasting(PATIENCE);
            assert!(patient, "the daemon does not answer: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
        daemon
    }

    /// What the daemons of this folder logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Removing the pins lets the kernel take the filter off.
        _ = umount2(&self.bpf, MntFlags::MNT_DETACH);
    }
}

/// A running daemon, killed when dropped.
pub struct Daemon<'a> {
    home: &'a Home,
    process: Process,
}

impl Daemon<'_> {
    /// Its process id. `nsenter` executes it in its own place.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("the daemon runs");
    }

    /// Ends it with `signal` and waits for that.
    pub fn end(mut self, signal: Signal) {
        self.signal(signal);
        _ = self.process.0.wait();
    }

    /// Waits for it to end by itself; whether it succeeded.
    #[must_use]
    pub fn wait(mut self) -> bool {
        self.process.0.wait().expect("the daemon's end").success()
    }

    /// The frames counted for a reason, over all families.
    #[must_use]
    pub fn frames(&self, reason: &str) -> u64 {
        let status = self.home.json(&["status"]);
        let counters = status["counters"].as_array().expect("counters").clone();
        counters
            .iter()
            .filter(|counter| counter["reason"] == reason)
            .filter_map(|counter| counter["frames"].as_u64())
            .sum()
    }

    /// What daemon and kernel say of an address.
    #[must_use]
    pub fn look_up(&self, address: IpAddr) -> Value {
        self.home.json(&["lookup", "--live", &address.to_string()])
    }
}
