//! Many reloads leave nothing behind: no map, no descriptor, no memory.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{MapType, loaded_maps};
use mxdp::control::client;
use mxdp::control::protocol::{Reloaded, Request};
use mxdp_tests::daemon::{Home, wait_for};
use mxdp_tests::netns::{Pair, connect};
use mxdp_tests::resources::Held;

/// The reloads that are counted.
const RELOADS: usize = 1000;

/// Reloads before the first count: the allocator has seen both sizes.
const BEFORE: usize = 100;

/// How often a reload takes a large list.
const LARGE: usize = 50;

/// How much more memory there may be at the end. Measured are less than 2 MB either
/// way; a generation of the large lists that stayed would be 6 MB each.
const GROWTH: u64 = 12 << 20;

/// The sizes of the lists: small ones are tries of the kernel, large ones ranges. No
/// other test has tries of these sizes.
const SIZES: [[usize; 2]; 2] = [[211, 223], [60_013, 60_029]];

/// A blocked list of so many prefixes that do not join, and the client.
fn list(size: usize) -> String {
    let mut text = "10.77.0.66\n".to_owned();
    for n in 0..u32::try_from(size - 1).expect("a small list") {
        let address = Ipv4Addr::from(0xb000_0000 + n * 514);
        writeln!(text, "{address}").expect("written");
    }
    text
}

/// The ids and sizes of all tries of this test's sizes, and the ids of all maps.
fn maps() -> (Vec<u32>, BTreeSet<u32>) {
    let mut tries = Vec::new();
    let mut all = BTreeSet::new();
    for map in loaded_maps().flatten() {
        all.insert(map.id());
        let is_trie = map.map_type().is_ok_and(|kind| kind == MapType::LpmTrie);
        if is_trie && SIZES.as_flattened().contains(&(map.max_entries() as usize)) {
            tries.push(map.id());
        }
    }
    (tries, all)
}

#[test]
fn a_thousand_reloads_under_traffic_leave_nothing_behind() {
    let pair = Pair::new();
    pair.add_client_address("10.77.0.66");
    let listener = pair.edge.run(|| TcpListener::bind("10.77.0.1:25").expect("a listener"));
    listener.set_nonblocking(true).expect("a listener");
    let home = Home::new();
    home.write("blocked.txt", list(SIZES[0][0]));
    home.configure(
        "interfaces = [\"e0\"]\nmode = \"native\"",
        "[blocked]\nfiles = [{ path = \"blocked.txt\", may_shrink = true }]\n[reload]\nwatch = false\n",
    );
    let daemon = home.start(&pair.edge);
    let socket = home.path("mxdp.sock");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let knocking = scope.spawn(|| {
            let target: SocketAddr = "10.77.0.1:25".parse().expect("an address");
            let [blocked, free] = ["10.77.0.66", "10.77.0.2"].map(|ip| ip.parse().expect("an ip"));
            let (quick, patient) = (Duration::from_millis(5), Duration::from_secs(10));
            pair.client.run(|| {
                let mut knocks = 0;
                while !done.load(Ordering::Relaxed) {
                    assert!(connect(blocked, target, quick).is_err(), "a SYN came through");
                    connect(free, target, patient).expect("a SYN was lost");
                    // A full backlog would lose SYNs too.
                    while listener.accept().is_ok() {}
                    knocks += 1;
                }
                knocks
            })
        });
        // Whatever fails here, the knocking ends.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let reload = |n: usize| {
                let size = SIZES[usize::from(n.is_multiple_of(LARGE))][n % 2];
                home.write("blocked.txt", list(size));
                let _: Reloaded = client::call(&socket, &Request::Reload { accept: Vec::new() })
                    .expect("reloaded");
            };
            // Odd and even, so that each size has its turn.
            (0..BEFORE).for_each(|n| reload(n + n / LARGE));
            let (before, (_, maps_before)) = (Held::at_rest(daemon.pid()), maps());
            let mut times = Vec::new();
            for n in 0..RELOADS {
                let start = Instant::now();
                reload(n + n / LARGE);
                times.push(start.elapsed());
            }
            times.sort();
            // Two reloads of small lists: what large ones had is given back.
            (1..3).for_each(reload);
            let after = Held::at_rest(daemon.pid());
            println!(
                "{RELOADS} reloads: median {:?}, longest {:?}; {} KB, then {} KB; {} descriptors",
                times[RELOADS / 2],
                times[RELOADS - 1],
                before.resident / 1024,
                after.resident / 1024,
                after.descriptors,
            );
            assert_eq!(after.descriptors, before.descriptors, "{before:?}\n{after:?}");
            assert_eq!(after.maps.len(), before.maps.len(), "{before:?}\n{after:?}");
            assert_eq!(after.programs, before.programs);
            assert_eq!(after.links, before.links);
            assert!(after.threads <= before.threads + 2, "{before:?}\n{after:?}");
            assert!(after.resident < before.resident + GROWTH, "{before:?}\n{after:?}");
            // The kernel frees maps by and by. Of this daemon's there is the trie in force
            // and at most the one before; a map that each reload left would be a thousand,
            // and what else runs on the host makes far fewer.
            wait_for("the maps to be freed", || maps().0.len() <= 2);
            wait_for("the arrays to be freed", || {
                maps().1.difference(&maps_before).count() < RELOADS / 4
            });
        }));
        done.store(true, Ordering::Relaxed);
        let knocks: Result<usize, _> = knocking.join();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
        let knocks = knocks.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(knocks > 500, "{knocks}");
        assert!(daemon.frames("blocked_ip") >= knocks as u64);
        assert_eq!(home.json(&["status"])["alarms"], serde_json::json!([]));
    });
}
