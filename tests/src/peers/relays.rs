//! What stands where mxdp stands, and what stands behind it: HAProxy in TCP mode,
//! and the sink of Postfix.

use std::fs;
use std::process::Stdio;

use tempfile::TempDir;

use super::{Process, environment, find, greets};
use crate::daemon::wait_for;
use crate::netns::Namespace;

/// A running smtp-sink, which takes everything and keeps nothing.
pub struct Sink(Process);

impl Sink {
    /// Starts one on 127.0.0.1 of a namespace, with further options.
    #[must_use]
    pub fn start(namespace: &Namespace, port: u16, options: &[&str]) -> Self {
        let mut command = namespace.command(find("smtp-sink"));
        command.args(["-u", "nobody"]).args(options).arg(format!("127.0.0.1:{port}")).arg("1024");
        command
            .envs(environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let sink = Self(Process(command.spawn().expect("smtp-sink starts")));
        wait_for("smtp-sink", || greets(namespace, port));
        sink
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.0.id()
    }
}

/// A running HAProxy.
pub struct Haproxy {
    _folder: TempDir,
    _process: Process,
}

impl Haproxy {
    /// Starts one that connects a port of 127.0.0.1 with another.
    #[must_use]
    pub fn start(namespace: &Namespace, port: u16, to: u16) -> Self {
        let folder = TempDir::with_prefix("mxdp-haproxy-").expect("a folder");
        let path = folder.path().join("haproxy.cfg");
        let text = format!(
            "global\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  \
             timeout server 1m\nlisten smtp\n  bind 127.0.0.1:{port}\n  server s 127.0.0.1:{to}\n"
        );
        fs::write(&path, text).expect("written");
        let mut command = namespace.command(find("haproxy"));
        command.arg("-f").arg(&path).envs(environment());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process(command.spawn().expect("haproxy starts"));
        wait_for("HAProxy", || greets(namespace, port));
        Self { _folder: folder, _process: process }
    }
}
