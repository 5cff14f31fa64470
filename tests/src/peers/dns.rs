//! Real name servers: rbldnsd for DNS lists, nsd for everything else.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use super::{Process, environment, find};
use crate::daemon::wait_for;
use crate::netns::Namespace;

/// The type of an answer.
pub const A: u16 = 1;
/// Mail exchanges.
pub const MX: u16 = 15;
/// Texts.
pub const TXT: u16 = 16;

/// A folder that servers without root can read.
fn open_folder(prefix: &str) -> TempDir {
    let folder = TempDir::with_prefix(prefix).expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("permissions");
    folder
}

/// A DNS list of rbldnsd: its name, the type of its data, and the data.
pub struct Zone<'a> {
    /// The name.
    pub name: &'a str,
    /// `ip4set`, `ip6trie` or `generic`.
    pub kind: &'a str,
    /// Lines as rbldnsd(8) has them.
    pub data: &'a str,
}

/// rbldnsd on a port of 127.0.0.1, ended when dropped.
pub struct Rbldnsd {
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Rbldnsd {
    /// Starts it. A zone that is named twice has both data.
    #[must_use]
    pub fn start(namespace: &Namespace, port: u16, zones: &[Zone<'_>]) -> Self {
        let folder = open_folder("mxdp-rbldnsd-");
        let mut arguments = Vec::new();
        for (number, zone) in zones.iter().enumerate() {
            let file = folder.path().join(format!("{number}-{}", zone.name));
            let text = format!(
                "$SOA 60 ns.{name} host.{name} 1 600 300 86400 60\n$NS 60 ns.{name}\n$TTL 60\n{}\n",
                zone.data,
                name = zone.name
            );
            fs::write(&file, text).expect("written");
            arguments.push(format!("{}:{}:{}", zone.name, zone.kind, file.display()));
        }
        let mut server = Self { folder, port, arguments, process: None };
        server.begin(namespace);
        server
    }

    /// Starts it again, on the same port.
    pub fn begin(&mut self, namespace: &Namespace) {
        let mut command = namespace.command(find("rbldnsd"));
        command.args(["-n", "-u", "nobody", "-c", "1", "-b"]);
        command.arg(format!("127.0.0.1/{}", self.port)).args(&self.arguments);
        let child = command
            .envs(environment())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("rbldnsd starts");
        self.process = Some(Process(child));
        wait_until_it_answers(namespace, self.port);
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.process = None;
    }
}

/// nsd on a port of 127.0.0.1, ended when dropped.
pub struct Nsd {
    _folder: TempDir,
    process: Process,
}

impl Nsd {
    /// Starts it with one zone, from the root on: lines of a zone file.
    #[must_use]
    pub fn start(namespace: &Namespace, port: u16, records: &str) -> Self {
        let folder = open_folder("mxdp-nsd-");
        let path = folder.path().display();
        let zone = format!(
            "$ORIGIN .\n$TTL 60\n. SOA ns. host. 1 600 300 86400 60\n. NS ns.\nns. A 127.0.0.1\n\
             {records}\n"
        );
        fs::write(folder.path().join("zone"), zone).expect("written");
        let config = format!(
            "server:\n ip-address: 127.0.0.1@{port}\n username: \"\"\n zonesdir: \"{path}\"\n \
             pidfile: \"{path}/pid\"\n xfrdfile: \"{path}/xfrd\"\n zonelistfile: \"{path}/list\"\n \
             xfrdir: \"{path}\"\n database: \"\"\n logfile: \"{path}/log\"\n server-count: 1\n \
             rrl-ratelimit: 0\nremote-control:\n control-enable: no\nzone:\n name: \".\"\n \
             zonefile: \"zone\"\n"
        );
        fs::write(folder.path().join("nsd.conf"), config).expect("written");
        let child = namespace
            .command(find("nsd"))
            .args(["-d", "-c"])
            .arg(folder.path().join("nsd.conf"))
            .envs(environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nsd starts");
        let server = Self { process: Process(child), _folder: folder };
        wait_until_it_answers(namespace, port);
        let log = fs::read_to_string(server._folder.path().join("log")).unwrap_or_default();
        assert!(!log.contains("error"), "{log}");
        server
    }
}

impl Drop for Nsd {
    fn drop(&mut self) {
        // It has processes of its own.
        self.process.terminate();
    }
}

fn wait_until_it_answers(namespace: &Namespace, port: u16) {
    wait_for("a name server", || ask(namespace, port, "ready.test", A).is_some());
}

/// A question of type `kind`, as it goes over the wire.
#[must_use]
pub fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).expect("a label"));
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}

/// Asks a server on 127.0.0.1 and gives the code and how many records it answers.
#[must_use]
pub fn ask(namespace: &Namespace, port: u16, name: &str, kind: u16) -> Option<(u8, u16)> {
    namespace.run(|| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a time-out");
        socket.send_to(&question(name, kind), (Ipv4Addr::LOCALHOST, port)).ok()?;
        let mut answer = [0; 4096];
        let length = socket.recv(&mut answer).ok()?;
        let answer = &answer[..length];
        Some((answer.get(3)? & 15, u16::from_be_bytes([*answer.get(6)?, *answer.get(7)?])))
    })
}
