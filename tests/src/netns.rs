//! Network namespaces with a veth pair between them.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};
use socket2::{Domain, Socket, Type};

use crate::pace::lasting;
use crate::programs;

/// A name that no other test, process or run has.
#[must_use]
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}{:x}n{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs `ip` and fails the test with its words where it fails.
pub fn ip(arguments: &str) {
    let output = Command::new(programs::ip())
        .args(arguments.split_whitespace())
        .output()
        .expect("ip(8) starts");
    assert!(
        output.status.success(),
        "ip {arguments}: {} (root is needed)",
        String::from_utf8_lossy(&output.stderr).trim()
    );
}

/// A network namespace, removed when dropped.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new namespace with its loopback up.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let namespace = Self { name: unique(prefix) };
        ip(&format!("netns add {}", namespace.name));
        namespace.ip("link set lo up");
        namespace
    }

    /// Its name, for ip(8).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` in it.
    pub fn ip(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.name));
    }

    /// A command that runs in it. Only the network is the namespace's: the
    /// command sees the mounts of the test.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program.as_ref());
        command
    }

    /// Runs `work` in it, on a thread of its own.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace = File::open(self.path()).expect("the namespace");
                setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).expect("setns (root)");
                work()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Starts `work` in it, on a thread of its own; threads that it starts are in it
    /// too.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let namespace = File::open(self.path()).expect("the namespace");
        thread::spawn(move || {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).expect("setns (root)");
            work()
        })
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Its interfaces go with it, and the programs on them.
        _ = Command::new(programs::ip()).args(["netns", "del", &self.name]).output();
    }
}

/// A client and an edge host, with a veth pair between them.
///
/// The client has `e1` (10.77.0.2/16, fd77::2/64) and the edge `e0` (10.77.0.1,
/// fd77::1).
pub struct Pair {
    /// The host that is protected.
    pub edge: Namespace,
    /// The host that sends.
    pub client: Namespace,
}

impl Pair {
    /// Both hosts, up and with addresses.
    #[must_use]
    pub fn new() -> Self {
        let pair = Self { edge: Namespace::new("mxe"), client: Namespace::new("mxc") };
        pair.link();
        pair
    }

    /// Makes the veth pair, as it was, after one end was removed.
    pub fn link(&self) {
        let (edge, client) = (&self.edge, &self.client);
        client.ip(&format!("link add e1 type veth peer name e0 netns {}", edge.name()));
        for (host, device, number) in [(client, "e1", 2), (edge, "e0", 1)] {
            host.ip(&format!("link set {device} up"));
            host.ip(&format!("addr add 10.77.0.{number}/16 dev {device}"));
            host.ip(&format!("addr add fd77::{number}/64 dev {device} nodad"));
        }
    }

    /// Gives the client one more address on `e1`.
    pub fn add_client_address(&self, address: &str) {
        let length = if address.contains(':') { 64 } else { 16 };
        let flags = if address.contains(':') { "nodad" } else { "" };
        self.client.ip(&format!("addr add {address}/{length} dev e1 {flags}"));
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

/// Frames of a test's own making, sent and seen on a device of the namespace that
/// the calling thread is in.
pub struct Wire {
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
}

impl Wire {
    /// The wire at `device`.
    #[must_use]
    pub fn new(device: &str) -> Self {
        let interfaces = pnet_datalink::interfaces();
        let found = interfaces.iter().find(|interface| interface.name == device);
        let patience = Some(lasting(Duration::from_millis(200)));
        let config = Config { read_timeout: patience, ..Config::default() };
        match pnet_datalink::channel(found.expect("the device"), config) {
            Ok(Channel::Ethernet(sender, receiver)) => Self { sender, receiver },
            Ok(_) => panic!("{device}: no Ethernet"),
            Err(error) => panic!("{device}: {error} (root is needed)"),
        }
    }

    /// Sends a frame.
    ///
    /// # Errors
    ///
    /// When the device's queue is full.
    pub fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.sender.send_to(frame, None).unwrap_or_else(|| Err(io::ErrorKind::Other.into()))
    }

    /// Whether a frame with `bytes` somewhere in it is seen within 200 ms of the
    /// last one (more on a slow machine).
    pub fn sees(&mut self, bytes: &[u8]) -> bool {
        while let Ok(frame) = self.receiver.next() {
            if frame.windows(bytes.len()).any(|window| window == bytes) {
                return true;
            }
        }
        false
    }
}

/// Connects from `source` to `target` within `patience`, which is more on a slow machine.
///
/// # Errors
///
/// `TimedOut` where nothing answers, as for a dropped SYN.
pub fn connect(source: IpAddr, target: SocketAddr, patience: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&target.into(), lasting(patience))?;
    socket.set_read_timeout(Some(lasting(Duration::from_secs(10))))?;
    Ok(socket)
}
