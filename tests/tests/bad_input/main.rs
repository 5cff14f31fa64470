//! Bad input: every error is clear, named, bounded in time and size, and leaves
//! what is in force in force.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mxdp_tests::daemon::Home;
use mxdp_tests::peers::{self, Process};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

mod configuration;
mod databases;
mod lists;
mod lookups;
mod reloads;
mod start;

/// How long a run may take that has little to do.
const SOON: Duration = Duration::from_secs(20);

/// How long a run may take that has much to do.
const LATE: Duration = Duration::from_secs(60);

const LOOPBACK: &str = "interfaces = [\"lo\"]\nmode = \"generic\"";

/// What a run came to.
struct Outcome {
    code: Option<i32>,
    /// Standard output, then standard error.
    text: String,
}

impl Outcome {
    fn says(&self, what: &str) {
        assert!(self.text.contains(what), "`{what}` is missing in:\n{}", self.text);
    }
}

/// Runs a command to its end, with `stdin`, and fails if it takes longer than
/// `patience`.
fn finish(command: &mut Command, stdin: Stdio, patience: Duration) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = ["out", "err"].map(|name| folder.path().join(name));
    let [out, err] = paths.each_ref().map(|path| File::create(path).expect("a file"));
    command.stdin(stdin).stdout(out).stderr(err);
    let mut process = Process(command.spawn().expect("it starts"));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = process.0.try_wait().expect("its state") {
            break status;
        }
        assert!(start.elapsed() < patience, "it hangs: {command:?}");
        thread::sleep(Duration::from_millis(5));
    };
    let text = paths.map(|path| String::from_utf8(fs::read(path).expect("read")).expect("UTF-8"));
    Outcome { code: status.code(), text: text.concat() }
}

fn config_of(home: &Home) -> String {
    home.path("mxdp.toml").to_str().expect("UTF-8").to_owned()
}

/// `mxdp VERB -c mxdp.toml`.
fn run(home: &Home, verb: &str, patience: Duration) -> Outcome {
    finish(&mut home.mxdp(None, &[verb, "-c", &config_of(home)]), Stdio::null(), patience)
}

fn check(home: &Home) -> Outcome {
    run(home, "check", SOON)
}

/// `mxdp ARGUMENTS…` without any privilege. The folder of `home` is opened for all
/// to read.
fn as_nobody(home: &Home, arguments: &[&str]) -> Command {
    let binary = home.path("mxdp");
    if !binary.exists() {
        // The build's folders may be closed to others. By a process of its own:
        // what this one has open for writing, its other children have too, and
        // then nobody may execute it.
        let mut copy = Command::new("install");
        copy.arg("-m755").arg(peers::mxdp()).arg(&binary);
        assert!(copy.status().expect("install(1) starts").success());
        let open = Permissions::from_mode(0o755);
        fs::set_permissions(home.path("."), open).expect("opened");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    command.arg(binary).args(arguments).env("NO_COLOR", "1");
    command
}

fn fifo(path: &Path) {
    mkfifo(path, Mode::S_IRWXU).expect("a FIFO");
}
