//! The real programs that the tests talk to. `cargo xtask test` fetches them and
//! names the folder in `MXDP_PEERS`.

pub mod chromium;
pub mod clients;
pub mod dns;
pub mod dns_relay;
pub mod opensmtpd;
pub mod postfix;
pub mod relays;
pub mod slapd;
pub mod spf_judges;

use std::env;
use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon::files_below;
use crate::netns::Namespace;

/// The `mxdp` binary of this build.
#[must_use]
pub fn mxdp() -> PathBuf {
    if let Some(path) = env::var_os("MXDP_BIN") {
        return path.into();
    }
    // target/PROFILE/deps/TEST is beside target/PROFILE/mxdp.
    let test = env::current_exe().expect("this test's path");
    let profile = test.ancestors().nth(2).expect("the profile's folder");
    let path = profile.join("mxdp");
    assert!(path.exists(), "{} is missing; run `cargo xtask test`", path.display());
    path
}

/// ip(8) of iproute2.
#[must_use]
pub fn ip() -> PathBuf {
    find("ip")
}

/// A program of the packages that the set-up unpacked, or of the host; by its
/// name, or by its path in the tree.
#[must_use]
pub fn find(name: &str) -> PathBuf {
    let folders = ["sbin", "bin", "usr/sbin", "usr/bin", ""];
    let roots = [peers(), Some(PathBuf::from("/"))];
    roots
        .iter()
        .flatten()
        .flat_map(|root| folders.iter().map(move |folder| root.join(folder).join(name)))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is missing; run `cargo xtask test`"))
}

/// A command for a program of [`find`], with the libraries beside it.
#[must_use]
pub fn command(name: &str) -> Command {
    let mut command = Command::new(find(name));
    command.envs(environment());
    command
}

/// What programs of the unpacked packages need in their environment.
#[must_use]
pub fn environment() -> Vec<(String, PathBuf)> {
    let Some(root) = peers() else {
        return Vec::new();
    };
    let folders = [
        "usr/lib/postfix",
        "usr/lib/x86_64-linux-gnu",
        "lib/x86_64-linux-gnu",
        "usr/lib/x86_64-linux-gnu/pulseaudio",
    ];
    let paths: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    let joined = env::join_paths(paths).expect("no colon in the paths");
    vec![("LD_LIBRARY_PATH".to_owned(), joined.into())]
}

pub(crate) fn peers() -> Option<PathBuf> {
    env::var_os("MXDP_PEERS").map(PathBuf::from).or_else(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
        Some(workspace.join("target/peers"))
    })
}

/// Whether a mail server says its greeting on a port of 127.0.0.1.
pub(crate) fn greets(namespace: &Namespace, port: u16) -> bool {
    namespace.run(|| {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
            return false;
        };
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
        let mut code = [0; 3];
        stream.read_exact(&mut code).is_ok() && code == *b"220"
    })
}

/// The messages in the Maildirs below a folder.
pub(crate) fn maildirs(folder: &Path) -> Vec<Vec<u8>> {
    let files = files_below(folder).into_iter();
    let new = files.filter(|path| path.parent().is_some_and(|parent| parent.ends_with("new")));
    new.filter_map(|path| fs::read(path).ok()).collect()
}

/// A process that is ended when dropped.
pub struct Process(pub Child);

impl Process {
    /// Asks it to end, so that it can end its own processes, and waits a while.
    pub(crate) fn terminate(&mut self) {
        let Ok(pid) = i32::try_from(self.0.id()) else { return };
        _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        for _ in 0..150 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
