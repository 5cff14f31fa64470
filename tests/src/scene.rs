//! A host whose filter lets some in and others not, and traffic of both kinds.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::daemon::Home;
use crate::netns::{Pair, connect};
use crate::peers;

/// The lists of its configuration.
pub const LISTS: &str = "[blocked]\naddresses = [\"10.77.0.66\"]\n";

const SHORT: Duration = Duration::from_millis(300);

/// A host with a listener on port 25 and a client that is blocked.
pub struct Scene {
    /// The host and its client.
    pub pair: Pair,
    /// The daemon's folder.
    pub home: Home,
    listener: TcpListener,
}

impl Scene {
    /// Nothing runs yet; what the daemon is to do is configured.
    #[must_use]
    pub fn new() -> Self {
        let pair = Pair::new();
        pair.add_client_address("10.77.0.66");
        let listener = pair.edge.run(|| TcpListener::bind("10.77.0.1:25").expect("a listener"));
        let home = Home::new();
        listener.set_nonblocking(true).expect("a listener");
        home.configure("interfaces = [\"e0\"]\nmode = \"native\"", LISTS);
        Self { pair, home, listener }
    }

    /// Does some work while both addresses connect: none of the blocked one's SYNs
    /// passes and none of the other's is lost. Says how many were the blocked one's.
    ///
    /// # Panics
    ///
    /// When one of them does.
    pub fn under_traffic(&self, work: impl FnOnce()) -> u64 {
        self.under_traffic_of("10.77.0.2", work)
    }

    /// The same, where the other address is this.
    ///
    /// # Panics
    ///
    /// Likewise.
    pub fn under_traffic_of(&self, free: &str, work: impl FnOnce()) -> u64 {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let knocking = scope.spawn(|| {
                let [blocked, free] =
                    ["10.77.0.66", free].map(|ip| ip.parse().expect("an address"));
                let target: SocketAddr = "10.77.0.1:25".parse().expect("an address");
                let (quick, patient) = (Duration::from_millis(5), Duration::from_secs(10));
                self.pair.client.run(|| {
                    let mut knocks = 0;
                    while !done.load(Ordering::Relaxed) {
                        for _ in 0..10 {
                            let came = connect(blocked, target, quick);
                            assert!(came.is_err(), "a SYN came through");
                            knocks += 1;
                        }
                        // A SYN that is lost is sent again after a second.
                        let start = Instant::now();
                        connect(free, target, patient).expect("a SYN was lost");
                        assert!(start.elapsed() < Duration::from_millis(900), "a SYN was lost");
                        // A full backlog would lose some too.
                        while self.listener.accept().is_ok() {}
                    }
                    knocks
                })
            });
            let result = catch_unwind(AssertUnwindSafe(work));
            done.store(true, Ordering::Relaxed);
            let knocks = knocking.join();
            match (result, knocks) {
                (Ok(()), Ok(knocks)) => knocks,
                (Err(panic), _) | (_, Err(panic)) => resume_unwind(panic),
            }
        })
    }

    /// Whether a connection of this address comes to stand.
    #[must_use]
    pub fn is_admitted(&self, source: &str) -> bool {
        let source: IpAddr = source.parse().expect("an address");
        let target: SocketAddr = "10.77.0.1:25".parse().expect("an address");
        self.pair.client.run(|| connect(source, target, SHORT).is_ok())
    }

    /// The blocked address is not admitted, and one on no list is.
    ///
    /// # Panics
    ///
    /// When that is not so.
    pub fn assert_filtered(&self, when: &str) {
        assert!(!self.is_admitted("10.77.0.66"), "the blocked address is admitted {when}");
        assert!(self.is_admitted("10.77.0.2"), "an unlisted address is not admitted {when}");
    }

    /// The id of the program on the host's interface.
    #[must_use]
    pub fn xdp_program(&self) -> Option<u64> {
        self.xdp_program_on("e0")
    }

    /// The id of the program on an interface.
    #[must_use]
    pub fn xdp_program_on(&self, interface: &str) -> Option<u64> {
        let mut ip = self.pair.edge.command(peers::ip());
        let output = ip.args(["-json", "link", "show", "dev", interface]).output().expect("ip(8)");
        let links: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        links[0]["xdp"]["prog"]["id"].as_u64()
    }
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}
