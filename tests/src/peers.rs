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

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::files::files_below;
use crate::netns::Namespace;

pub(crate) use crate::programs::peers;
pub use crate::programs::{command, environment, find, ip, mxdp};

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
