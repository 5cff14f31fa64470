//! Whether anything is filtered, and what a packet is held against.

use std::thread;
use std::time::{Duration, Instant};

use filter_common::Reason;
use filter_common::abi::{Settings, SynRate};
use mxdp::config::KernelLog;
use mxdp::io::kernel::{Capacities, Change, Filter, Options};
use mxdp_tests::daemon::wait_for;
use mxdp_tests::frames::{self, SYN};
use mxdp_tests::http::Http;
use mxdp_tests::netns::Wire;
use mxdp_tests::scene::{LISTS, Scene};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;

/// The kind: readiness by the configuration, and not by the facts. While an interface is gone,
/// or something else is on it, nothing is filtered there.
#[test]
fn ready_is_only_who_filters() {
    let scene = Scene::new();
    let rest = format!("{LISTS}[web]\nloopback = \"read\"\n");
    scene.home.configure("interfaces = [\"e0\"]\nmode = \"native\"", &rest);
    let _daemon = scene.home.start(&scene.pair.edge);
    let http = Http::new(&scene.pair.edge, "http://127.0.0.1:8025", None);
    let gauge = |value: u8| {
        let line = format!("mxdp_interface_attached{{interface=\"e0\",mode=\"native\"}} {value}\n");
        http.get("/metrics").body.contains(&line)
    };
    assert_eq!(http.get("/readyz").status, 200);
    assert!(gauge(1), "{}", http.get("/metrics").body);
    scene.pair.edge.ip("link del e0");
    wait_for("not ready", || http.get("/readyz").status == 503);
    assert!(gauge(0), "{}", http.get("/metrics").body);
    let status = scene.home.json(&["status"]);
    assert_eq!(status["interfaces"][0]["attached"], false, "{status}");
    scene.pair.link();
    wait_for("ready again", || http.get("/readyz").status == 200);
    assert!(gauge(1));
}

/// The kind: a device and the one below it are both named (a VLAN, a bond, a bridge), and
/// each SYN is judged, counted and held against its source's rate twice.
#[test]
fn a_syn_is_judged_once_on_stacked_devices() {
    let scene = Scene::new();
    for words in [
        "link add br0 type bridge",
        "link set e0 master br0",
        "link set br0 up",
        "addr del 10.77.0.1/16 dev e0",
        "addr add 10.77.0.1/16 dev br0",
    ] {
        scene.pair.edge.ip(words);
    }
    let names = || {
        let status = scene.home.json(&["status"]);
        let interfaces = status["interfaces"].as_array().expect("interfaces").clone();
        let names = interfaces.iter().map(|one| one["name"].as_str().expect("a name").to_owned());
        names.collect::<Vec<_>>()
    };
    scene.home.configure("interfaces = [\"e0\", \"br0\"]", LISTS);
    let daemon = scene.home.start(&scene.pair.edge);
    assert_eq!(names(), ["e0"]);
    wait_for("a bridge that forwards", || scene.is_admitted("10.77.0.2"));
    let before = daemon.frames("unlisted");
    assert!(scene.is_admitted("10.77.0.2"));
    assert_eq!(daemon.frames("unlisted"), before + 1);
    scene.assert_filtered("below the bridge");
    // The upper one alone is filtered as any other.
    scene.home.configure("interfaces = [\"br0\"]", LISTS);
    scene.home.json(&["reload"]);
    assert_eq!(names(), ["br0"]);
    wait_for("the lower one's end", || scene.xdp_program().is_none());
    scene.assert_filtered("on the bridge");
}

/// The kind: what is left over of one is booked on the next. The weight of a flood that was
/// pending when its second ended is nobody's, and not that of whoever comes next.
#[test]
fn a_flood_is_not_booked_on_the_next_source() {
    let scene = Scene::new();
    let lists = "[blocked]\naddresses = [\"10.77.0.66\", \"10.77.0.67\"]\n";
    scene.home.configure("interfaces = [\"e0\"]\nmode = \"native\"", lists);
    let daemon = scene.home.start(&scene.pair.edge);
    let sent = 60_000_u64;
    let send = |source: &str, count: u64, cpu: usize| {
        let frame = frames::V4::from(source).frame(&frames::tcp(25, SYN));
        scene.pair.client.run(|| {
            // The CPU that sends judges, as a rule, and each has a state of sampling of its own.
            let mut one = CpuSet::new();
            one.set(cpu).expect("a CPU");
            sched_setaffinity(Pid::from_raw(0), &one).expect("a CPU");
            let mut wire = Wire::new("e1");
            for _ in 0..count {
                while wire.send(&frame).is_err() {
                    thread::sleep(Duration::from_micros(50));
                }
            }
        });
    };
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("the CPUs");
    let cpus: Vec<usize> =
        (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu) == Ok(true)).collect();
    send("10.77.0.66", sent, cpus[0]);
    wait_for("the flood", || daemon.frames("blocked_ip") >= sent);
    thread::sleep(Duration::from_secs(2));
    let estimated = |status: &Value, source: &str| {
        let top = status["top_sources"].as_array().expect("sources").clone();
        let found = top.iter().find(|top| top["ip"] == source);
        found.map_or(0, |found| found["estimated"].as_u64().expect("a number"))
    };
    // Now and then another CPU judges a part of the flood. What is pending there is told with
    // the next SYN that it judges, so the other source calls on every one.
    let mut others = 0;
    wait_for("the weight of the whole flood", || {
        for cpu in &cpus {
            send("10.77.0.67", 1, *cpu);
            others += 1;
        }
        let mut status = Value::Null;
        wait_for("the other source", || {
            status = scene.home.json(&["status"]);
            estimated(&status, "10.77.0.67") >= others
        });
        assert_eq!(estimated(&status, "10.77.0.67"), others, "{status}");
        let unattributed = status["events"]["unattributed"].as_u64().expect("a number");
        estimated(&status, "10.77.0.66") + unattributed == sent
    });
}

/// The kind: a clock that stands still for milliseconds. A source below its rate loses none,
/// with no burst at all.
#[test]
fn a_source_below_its_rate_loses_none() {
    let capacities = Capacities { temporary: 1024, syn_rate: 1024 };
    let options = Options { capacities, kernel_log: KernelLog::Off, pin: None };
    let mut filter = Filter::open(&options).expect("the program loads (root is needed)");
    let mut settings = Settings::new(1);
    settings.protect(25);
    settings.syn_rate_v4 = SynRate { interval_ns: 1_000_000, tolerance_ns: 0 };
    filter
        .publish(&Change { settings: Some(settings), ..Change::default() })
        .expect("a generation");
    let frame = frames::V4::from("192.0.2.9").frame(&frames::tcp(25, SYN));
    let mut admitted = 0;
    for _ in 0..400 {
        let (action, _) = filter.run_on(&frame, 1).expect("a run");
        admitted += u32::from(action == 2);
        let last = Instant::now();
        // 800 a second, where 1,000 are permitted.
        while last.elapsed() < Duration::from_micros(1250) {
            std::hint::spin_loop();
        }
    }
    assert_eq!(admitted, 400);
    // At once, one is too many.
    filter.run_on(&frame, 1000).expect("runs");
    let limited = filter.counters().expect("counters").into_iter();
    let limited: u64 =
        limited.filter(|(reason, ..)| *reason == Reason::RateLimit).map(|c| c.2).sum();
    assert!(limited > 500, "{limited}");
}
