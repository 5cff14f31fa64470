//! What a running daemon may still do: little, and enough for all that it has to.

use std::fs;

use mxdp_tests::daemon::{Home, wait_for};
use mxdp_tests::netns::Pair;
use mxdp_tests::peers;
use nix::sys::signal::Signal;
use serde_json::Value;

/// CAP_DAC_READ_SEARCH, NET_BIND_SERVICE, NET_ADMIN, SYS_ADMIN, PERFMON and BPF.
const KEPT: u64 = 0xc0_0020_1404;

/// The threads that talk with clients: CAP_DAC_READ_SEARCH alone.
const WORKER: u64 = 0x4;

/// Of every thread of a process, its name and a field of its status, in hexadecimal.
fn of_all_threads(pid: u32, field: &str) -> Vec<(String, u64)> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the threads");
    let statuses =
        threads.map(|thread| fs::read_to_string(thread.expect("one").path().join("status")));
    // A thread may end meanwhile.
    let values = statuses.flatten().map(|status| {
        let of = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            line.expect("the field").trim().to_owned()
        };
        (of("Name:"), u64::from_str_radix(&of(field), 16).expect("a number"))
    });
    values.collect()
}

#[test]
fn a_daemon_holds_what_it_needs_and_no_more() {
    let pair = Pair::new();
    pair.edge.ip("link add e2 type veth peer name e3");
    pair.edge.ip("link set e2 up");
    let home = Home::new();
    let configure = |interfaces: &str| {
        home.configure(
            interfaces,
            "[reload]\nwatch = false\n[blocked]\naddresses = [\"10.77.0.66\"]\n",
        );
    };
    configure("interfaces = [\"e0\"]\nmode = \"native\"");
    let daemon = home.start(&pair.edge);
    for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
        let held = of_all_threads(daemon.pid(), set);
        for (thread, held) in &held {
            // The bounding set is for programs to come, and there are none.
            let is_worker = thread.starts_with("tokio") && set != "CapBnd:";
            let expected = if is_worker { WORKER } else { KEPT };
            // What a worker starts holds what it does.
            let inherits = set != "CapBnd:" && thread.starts_with("notify");
            assert!(*held == expected || inherits && *held == WORKER, "{set} {thread} {held:x}");
        }
        let workers = held.iter().filter(|(thread, _)| thread.starts_with("tokio")).count();
        assert!(workers > 1 && held.len() > workers + 1, "{set} {held:x?}");
    }
    for (set, expected) in [("CapInh:", 0), ("CapAmb:", 0), ("NoNewPrivs:", 1)] {
        let held = of_all_threads(daemon.pid(), set);
        assert!(held.iter().all(|(_, held)| *held == expected), "{set} {held:x?}");
    }

    // All that it does with the kernel: another interface, a table of ranges, a block,
    configure("interfaces = [\"e0\", \"e2\"]\nmode = \"auto\"");
    home.json(&["reload"]);
    let program = |device: &str| {
        let mut ip = pair.edge.command(peers::ip());
        let output = ip.args(["-json", "link", "show", "dev", device]).output().expect("ip(8)");
        let links: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        links[0]["xdp"]["prog"]["id"].as_u64()
    };
    assert!(program("e2").is_some(), "a reload attaches no more");
    let many: String = (0..4000).map(|n| format!("10.99.{}.{}\n", n / 200, n % 200)).collect();
    home.write("many.txt", many);
    home.configure(
        "interfaces = [\"e0\", \"e2\"]\nmode = \"auto\"",
        "[reload]\nwatch = false\n[blocked]\nfiles = [\"many.txt\"]\n",
    );
    home.json(&["reload"]);
    let answer = daemon.look_up("10.99.3.3".parse().expect("an address"));
    assert_eq!(answer["kernel"]["reason"], "blocked_ip", "{answer}");
    home.json(&["temp", "add", "10.77.0.9", "--for", "1h"]);

    // a take-over by the next, and the end of it.
    daemon.end(Signal::SIGKILL);
    let daemon = home.start(&pair.edge);
    let status = home.json(&["status"]);
    assert_eq!(status["interfaces"][0]["adopted"], true, "{status}");
    assert_eq!(status["generation"]["number"], 4, "{status}");
    home.json(&["detach"]);
    assert!(daemon.wait());
    wait_for("the end of the filter", || program("e0").is_none() && program("e2").is_none());
}
