//! The life of the filter: it stays when its daemon ends, and is adopted, replaced and removed.

use std::fs;
use std::time::{Duration, Instant};

use mxdp::config::KernelLog;
use mxdp::io::kernel::{Capacities, Filter, Options};
use mxdp_tests::daemon::{Daemon, Home, PATIENCE, wait_for};
use mxdp_tests::files::files_below;
use mxdp_tests::pace::lasting;
use mxdp_tests::scene::{LISTS, Scene};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Waits until the daemon has exactly these alarms.
fn wait_for_alarms(scene: &Scene, alarms: &[&str]) {
    let mut last = Value::Null;
    let wanted = serde_json::json!(alarms);
    let start = Instant::now();
    while last != wanted {
        assert!(
            start.elapsed() < lasting(PATIENCE),
            "{last} and not {wanted}: {}",
            scene.home.log()
        );
        std::thread::sleep(Duration::from_millis(50));
        last = scene.home.json(&["status"])["alarms"].clone();
    }
}

/// The ids of the maps that the attached program uses.
fn maps_in_use(scene: &Scene) -> Vec<u32> {
    let id = scene.xdp_program().expect("a program");
    aya::programs::loaded_programs()
        .flatten()
        .find(|program| u64::from(program.id()) == id)
        .and_then(|program| program.map_ids().ok().flatten())
        .expect("its maps")
}

#[test]
fn a_killed_daemon_leaves_the_filter_and_the_next_takes_it_over() {
    let scene = Scene::new();
    let daemon = scene.home.start(&scene.pair.edge);
    scene.assert_filtered("at first");
    let dropped = daemon.frames("blocked_ip");
    let first = scene.xdp_program().expect("a program");
    daemon.end(Signal::SIGKILL);
    scene.assert_filtered("without a daemon");
    assert_eq!(scene.xdp_program(), Some(first));

    let daemon = scene.home.start(&scene.pair.edge);
    scene.assert_filtered("after the restart");
    let status = scene.home.json(&["status"]);
    assert_eq!(status["interfaces"][0]["adopted"], true, "{status}");
    assert_eq!(status["generation"]["number"], 2, "{status}");
    assert_ne!(scene.xdp_program(), Some(first), "the program is the new daemon's");
    // The counters went on, over the time without a daemon too.
    assert!(daemon.frames("blocked_ip") >= dropped + 2);
}

#[test]
fn restarts_leave_no_gap() {
    let scene = Scene::new();
    let mut daemon = Some(scene.home.start(&scene.pair.edge));
    let knocks = scene.under_traffic(|| {
        for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL] {
            daemon.take().expect("a daemon").end(signal);
            daemon = Some(scene.home.start(&scene.pair.edge));
        }
    });
    assert!(knocks > 50, "{knocks}");
    assert!(daemon.expect("a daemon").frames("blocked_ip") >= knocks);
}

#[test]
fn pins_of_another_abi_version_or_shape_are_replaced_under_traffic() {
    let scene = Scene::new();
    let daemon = scene.home.start(&scene.pair.edge);
    scene.home.json(&["temp", "add", "10.77.0.2", "--for", "1h"]);
    scene.pair.add_client_address("10.77.0.3");
    for _ in 0..20 {
        assert!(!scene.is_admitted("10.77.0.66"));
    }
    let counted_before = daemon.frames("blocked_ip");
    assert!(counted_before >= 20);
    daemon.end(Signal::SIGKILL);
    let pins = scene.home.pins();
    let folders = || {
        let mut names: Vec<_> = fs::read_dir(&pins)
            .expect("the pins")
            .map(|entry| entry.expect("a folder").file_name().into_string().expect("a name"))
            .collect();
        names.sort();
        names
    };
    let [current] = &folders()[..] else { panic!("one version: {:?}", folders()) };

    // What an older version left behind: other maps, its program still attached.
    fs::rename(pins.join(current), pins.join("abi-0")).expect("renamed");
    let first = scene.xdp_program();
    let mut daemon = None;
    let knocks = scene.under_traffic_of("10.77.0.3", || {
        std::thread::sleep(Duration::from_millis(300));
        daemon = Some(scene.home.start(&scene.pair.edge));
        std::thread::sleep(Duration::from_millis(300));
    });
    let daemon = daemon.expect("a daemon");
    assert_eq!(folders(), std::slice::from_ref(current));
    assert_ne!(scene.xdp_program(), first);
    // What the old program counted before is counted on; only what it counts while it
    // is replaced is not.
    let counted = daemon.frames("blocked_ip");
    assert!(counted >= counted_before + knocks / 4, "{counted} {counted_before} {knocks}");
    assert_eq!(scene.home.json(&["status"])["interfaces"][0]["adopted"], true);
    assert!(!scene.is_admitted("10.77.0.2"), "temporary blocks are carried over");
    scene.home.json(&["temp", "remove", "10.77.0.2"]);
    scene.assert_filtered("after the replacement");
    daemon.end(Signal::SIGKILL);

    // Maps of another size: they are replaced, and the blocks carried over.
    let more = format!("{LISTS}[temporary]\ncapacity = 2048\n");
    scene.home.configure("interfaces = [\"e0\"]", &more);
    let daemon = scene.home.start(&scene.pair.edge);
    let status = scene.home.json(&["status"]);
    assert_eq!(status["temporary"]["capacity"], 2048);
    assert_eq!(status["interfaces"][0]["adopted"], true);
    scene.assert_filtered("with larger maps");
    daemon.end(Signal::SIGKILL);

    // A mixture of maps, as a crash between two pins would leave.
    fs::remove_file(pins.join(current).join("SELECTOR")).expect("removed");
    let _daemon = scene.home.start(&scene.pair.edge);
    scene.assert_filtered("after a crash between two pins");
    assert_eq!(scene.home.json(&["status"])["interfaces"][0]["adopted"], true);
}

#[test]
fn a_pin_directory_has_one_daemon() {
    let scene = Scene::new();
    let daemon = scene.home.start(&scene.pair.edge);
    // The same pins, and a socket of its own.
    let text = fs::read_to_string(scene.home.path("mxdp.toml")).expect("read");
    scene.home.write("other.toml", text.replace("mxdp.sock", "other.sock"));
    let other = scene.home.path("other.toml");
    let other = other.to_str().expect("UTF-8");
    for verb in ["run", "detach"] {
        let mut command = scene.home.mxdp(Some(&scene.pair.edge), &[verb, "-c", other]);
        let output = command.output().expect("mxdp starts");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(words.contains("another mxdp is running with its filter pinned at"), "{words}");
        scene.assert_filtered("after the refusal");
    }
    assert_eq!(scene.home.json(&["status"])["alarms"].as_array().map(Vec::len), Some(0));
    drop(daemon);
}

/// A filter that is pinned in the other mode cannot be adopted; it is replaced.
#[test]
fn a_change_of_mode_replaces_the_link() {
    let scene = Scene::new();
    let mode = |daemon| {
        let status = scene.home.json(&["status"]);
        let interface = &status["interfaces"][0];
        scene.assert_filtered("in another mode");
        Daemon::end(daemon, Signal::SIGKILL);
        (interface["mode"].as_str().map(str::to_owned), interface["adopted"].as_bool())
    };
    let native = Some("native".to_owned());
    assert_eq!(mode(scene.home.start(&scene.pair.edge)), (native.clone(), Some(false)));
    scene.home.configure("interfaces = [\"e0\"]\nmode = \"generic\"", LISTS);
    let generic = Some("generic".to_owned());
    assert_eq!(mode(scene.home.start(&scene.pair.edge)), (generic.clone(), Some(false)));
    // In whatever mode it is found, auto takes it over.
    scene.home.configure("interfaces = [\"e0\"]\nmode = \"auto\"", LISTS);
    assert_eq!(mode(scene.home.start(&scene.pair.edge)), (generic, Some(true)));
    scene.home.configure("interfaces = [\"e0\"]\nmode = \"native\"", LISTS);
    assert_eq!(mode(scene.home.start(&scene.pair.edge)), (native, Some(false)));
}

/// A start that cannot have what it asks for takes nothing off.
#[test]
fn a_mode_that_the_driver_lacks_leaves_the_filter_as_it_was() {
    let scene = Scene::new();
    // The loopback has no native XDP.
    scene.home.configure("interfaces = [\"lo\"]\nmode = \"generic\"", LISTS);
    scene.home.start(&scene.pair.edge).end(Signal::SIGKILL);
    assert!(scene.xdp_program_on("lo").is_some());
    scene.home.configure("interfaces = [\"lo\"]\nmode = \"native\"", LISTS);
    let config = scene.home.path("mxdp.toml");
    let config = config.to_str().expect("UTF-8");
    let mut command = scene.home.mxdp(Some(&scene.pair.edge), &["run", "-c", config]);
    let output = command.output().expect("mxdp starts");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("the filter stays in generic mode"), "{words}");
    assert!(words.contains("lo: the driver has no native XDP"), "{words}");
    assert!(scene.xdp_program_on("lo").is_some(), "{words}");
    // Nor is one left without that could be changed before the other could not.
    for mode in ["generic", "native"] {
        let both = format!("interfaces = [\"e0\", \"lo\"]\nmode = \"{mode}\"");
        scene.home.configure(&both, LISTS);
        if mode == "generic" {
            scene.home.start(&scene.pair.edge).end(Signal::SIGKILL);
        }
    }
    let mut command = scene.home.mxdp(Some(&scene.pair.edge), &["run", "-c", config]);
    let output = command.output().expect("mxdp starts");
    assert_eq!(output.status.code(), Some(1));
    for interface in ["e0", "lo"] {
        assert!(scene.xdp_program_on(interface).is_some(), "{interface} is not filtered");
    }
    scene.assert_filtered("after the refused start");
    scene.home.configure("interfaces = [\"lo\"]", LISTS);
    let _daemon = scene.home.start(&scene.pair.edge);
    let status = scene.home.json(&["status"]);
    assert_eq!(status["interfaces"][0]["adopted"], true, "{status}");
}

#[test]
fn detach_leaves_no_pin_no_link_and_no_map() {
    let scene = Scene::new();
    for with_daemon in [true, false] {
        let daemon = scene.home.start(&scene.pair.edge);
        scene.assert_filtered("before the detach");
        let maps = maps_in_use(&scene);
        assert!(maps.len() >= 9, "{maps:?}");
        let config = scene.home.path("mxdp.toml");
        let config = config.to_str().expect("UTF-8");
        if with_daemon {
            scene.home.json(&["detach", "-c", config]);
            assert!(daemon.wait(), "{}", scene.home.log());
            assert!(!scene.home.path("mxdp.sock").exists());
        } else {
            daemon.end(Signal::SIGKILL);
            scene.home.json(&["detach", "-c", config]);
        }
        wait_for("the program to leave", || scene.xdp_program().is_none());
        assert!(scene.is_admitted("10.77.0.66"), "the filter is gone");
        assert_eq!(files_below(&scene.home.pins()), Vec::<std::path::PathBuf>::new());
        wait_for("the maps to be freed", || {
            let left: Vec<u32> = aya::maps::loaded_maps().flatten().map(|map| map.id()).collect();
            maps.iter().all(|id| !left.contains(id))
        });
    }
}

#[test]
fn without_persist_nothing_is_left_behind() {
    let scene = Scene::new();
    scene.home.configure("interfaces = [\"e0\"]\npersist = false", LISTS);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let daemon = scene.home.start(&scene.pair.edge);
        scene.assert_filtered("while the daemon runs");
        assert!(files_below(&scene.home.pins()).is_empty());
        daemon.end(signal);
        wait_for("the program to leave", || scene.xdp_program().is_none());
    }
}

#[test]
fn interfaces_come_and_go_by_reload() {
    let scene = Scene::new();
    scene.pair.edge.ip("link add x0 type veth peer name x0.7");
    let _daemon = scene.home.start(&scene.pair.edge);
    let names = || {
        let status = scene.home.json(&["status"]);
        let interfaces = status["interfaces"].as_array().expect("interfaces").clone();
        let names = interfaces.iter().map(|i| i["name"].as_str().expect("a name").to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(), ["e0"]);
    scene.home.configure("interfaces = [\"e0\", \"x0\", \"x0.7\"]", LISTS);
    scene.home.json(&["reload"]);
    assert_eq!(names(), ["e0", "x0", "x0.7"]);
    scene.home.configure("interfaces = [\"x0\"]", LISTS);
    scene.home.json(&["reload"]);
    assert_eq!(names(), ["x0"]);
    wait_for("the filter to leave e0", || scene.xdp_program().is_none());
    assert!(scene.is_admitted("10.77.0.66"));
}

/// The daemon attaches the filter again by itself, with the active tables, and reports it.
#[test]
fn an_interface_that_is_removed_and_made_anew_is_filtered_again() {
    let scene = Scene::new();
    // By itself, and not by a reload.
    let lists = format!("[reload]\nwatch = false\n{LISTS}");
    scene.home.configure("interfaces = [\"e0\"]\nmode = \"native\"", &lists);
    let _daemon = scene.home.start(&scene.pair.edge);
    scene.home.json(&["temp", "add", "10.77.0.3", "--for", "1h"]);
    scene.assert_filtered("at first");
    for round in 0..2 {
        scene.pair.edge.ip("link del e0");
        wait_for_alarms(&scene, &["filter.interfaces: there is no interface e0 (see `ip link`)"]);
        // Other policies come into force meanwhile.
        let lists = format!(
            "[reload]\nwatch = false\n[blocked]\naddresses = [\"10.77.0.66\", \"10.77.1.{round}\"]\n"
        );
        scene.home.configure("interfaces = [\"e0\"]\nmode = \"native\"", &lists);
        scene.home.json(&["reload"]);
        scene.pair.link();
        scene.pair.add_client_address("10.77.0.66");
        scene.pair.add_client_address("10.77.0.3");
        scene.pair.add_client_address(&format!("10.77.1.{round}"));
        wait_for("the filter on the new interface", || scene.xdp_program().is_some());
        wait_for_alarms(&scene, &[]);
        scene.assert_filtered("on the new interface");
        assert!(!scene.is_admitted(&format!("10.77.1.{round}")), "what was reloaded is in force");
        assert!(!scene.is_admitted("10.77.0.3"), "temporary blocks are in force");
        let status = scene.home.json(&["status"]);
        assert_eq!(status["interfaces"][0]["mode"], "native", "{status}");
        assert_eq!(status["interfaces"][0]["pinned"], true, "{status}");
    }
    let log = scene.home.log();
    assert_eq!(log.matches("is attached again").count(), 2, "{log}");
    assert!(log.contains("RESOLVED: filter.interfaces: there is no interface e0"), "{log}");
}

/// Down and up again, the filter stays; renamed, it goes along, and the next
/// configuration that says the new name finds it there, running or not.
#[test]
fn an_interface_that_is_renamed_stays_filtered() {
    let scene = Scene::new();
    let daemon = scene.home.start(&scene.pair.edge);
    let first = scene.xdp_program();
    let rename = |from: &str, to: &str| {
        scene.pair.edge.ip(&format!("link set {from} down"));
        scene.pair.edge.ip(&format!("link set {from} name {to}"));
        scene.pair.edge.ip(&format!("link set {to} up"));
        scene.assert_filtered("under another name");
    };
    let configure = |name: &str| {
        let filter = format!("interfaces = [\"{name}\"]\nmode = \"native\"");
        scene.home.configure(&filter, LISTS);
    };
    rename("e0", "e0.7");
    wait_for_alarms(
        &scene,
        &["e0 is called e0.7 now, and still filtered; say so in filter.interfaces"],
    );
    configure("e0.7");
    scene.home.json(&["reload"]);
    wait_for_alarms(&scene, &[]);
    scene.assert_filtered("after the reload");
    let status = scene.home.json(&["status"]);
    assert_eq!(status["interfaces"][0]["name"], "e0.7", "{status}");
    let links = || {
        let names = files_below(&scene.home.pins()).into_iter().filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            name.starts_with("link-").then_some(name)
        });
        names.collect::<Vec<_>>()
    };
    assert_eq!(links(), ["link-e0%2e7"]);

    // Without a daemon: the next one takes it over by the interface, not by its name.
    daemon.end(Signal::SIGKILL);
    rename("e0.7", "e0");
    configure("e0");
    let daemon = scene.home.start(&scene.pair.edge);
    let status = scene.home.json(&["status"]);
    assert_eq!(status["interfaces"][0]["adopted"], true, "{status}");
    assert_ne!(scene.xdp_program(), first);
    assert_eq!(links(), ["link-e0"]);
    scene.assert_filtered("after the restart");

    // Two that change their names with one another keep a filter each.
    scene.pair.edge.ip("link add x0 type veth peer name x1");
    let both = "interfaces = [\"e0\", \"x0\"]";
    scene.home.configure(both, LISTS);
    scene.home.json(&["reload"]);
    scene.pair.edge.ip("link set x0 name x2");
    rename("e0", "x0");
    scene.pair.edge.ip("link set x2 name e0");
    scene.home.json(&["reload"]);
    wait_for_alarms(&scene, &[]);
    daemon.end(Signal::SIGKILL);
    scene.assert_filtered("by what is pinned");
    let daemon = scene.home.start(&scene.pair.edge);
    let status = scene.home.json(&["status"]);
    for interface in status["interfaces"].as_array().expect("interfaces") {
        assert_eq!(interface["adopted"], true, "{status}");
    }
    drop(daemon);
}

#[test]
fn a_second_filter_on_the_interface_is_refused_by_name() {
    let scene = Scene::new();
    let _daemon = scene.home.start(&scene.pair.edge);
    let other = Home::new();
    other.configure("interfaces = [\"e0\"]", LISTS);
    let config = other.path("mxdp.toml");
    let config = config.to_str().expect("UTF-8");
    let output =
        other.mxdp(Some(&scene.pair.edge), &["run", "-c", config]).output().expect("mxdp starts");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("e0: another XDP program is attached: mxdp (id "), "{words}");
    assert!(words.contains("take it off with `mxdp detach -c` and its"), "{words}");
    assert_eq!(files_below(&other.pins()), Vec::<std::path::PathBuf>::new(), "it left pins");
    scene.assert_filtered("after the refusal");
}

/// The program with its own log lines passes the verifier too.
#[test]
fn the_program_loads_with_every_level_of_its_log() {
    let capacities = Capacities { temporary: 1024, syn_rate: 1024 };
    for kernel_log in [KernelLog::Off, KernelLog::Error, KernelLog::Debug, KernelLog::Trace] {
        let options = Options { capacities, kernel_log, pin: None };
        let mut filter = Filter::open(&options).expect("the program loads");
        assert!(filter.take_log().is_ok());
    }
}
