//! Starting.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use mxdp_tests::daemon::{Home, wait_for};
use mxdp_tests::files::files_below;
use mxdp_tests::netns::Namespace;

use crate::{LOOPBACK, SOON, as_nobody, config_of, fifo, finish};

#[test]
fn an_interface_that_does_not_exist_is_named() {
    let home = Home::new();
    home.configure("interfaces = [\"lo\", \"mxnone0\"]\nmode = \"generic\"", "");
    let namespace = Namespace::new("mxb");
    let mut command = home.mxdp(Some(&namespace), &["run", "-c", &config_of(&home)]);
    let outcome = finish(&mut command, Stdio::null(), SOON);
    assert_eq!(outcome.code, Some(1), "{}", outcome.text);
    outcome.says("filter.interfaces: there is no interface mxnone0");
    outcome.says("ip link");
    assert_eq!(files_below(&home.pins()), Vec::<PathBuf>::new(), "it left pins");
    assert!(!home.path("mxdp.sock").exists(), "it left its socket");
}

#[test]
fn without_privilege_the_daemon_says_what_it_needs() {
    let home = Home::new();
    home.configure(LOOPBACK, "");
    let mut command = as_nobody(&home, &["run", "-c", &config_of(&home)]);
    for folder in [0o755, 0o777] {
        fs::set_permissions(home.path("."), Permissions::from_mode(folder)).expect("set");
        let before = files_below(&home.path("."));
        let outcome = finish(&mut command, Stdio::null(), SOON);
        assert_eq!(outcome.code, Some(1), "{}", outcome.text);
        outcome.says("root");
        outcome.says("CAP_BPF");
        assert_eq!(files_below(&home.path(".")), before, "it left something");
    }
}

/// A start fails only because of errors in the configuration file.
#[test]
fn damaged_managed_entries_are_put_aside_and_their_copy_is_used() {
    let home = Home::new();
    home.configure(LOOPBACK, "");
    let namespace = Namespace::new("mxb");
    let (path, aside) = (home.path("state/runtime.json"), home.path("state/runtime.json.damaged"));
    let alarms = || home.json(&["status"])["alarms"].to_string();
    // What is in force after a start; with the alarm, which ends when somebody has looked.
    let start = |what: &str, held: usize| {
        let daemon = home.start(&namespace);
        assert_eq!(home.json(&["status"])["generation"]["runtime_entries"], held, "{what}");
        wait_for("the alarm", || alarms().contains(&path.display().to_string()));
        assert!(alarms().contains(&aside.display().to_string()), "{what}: {}", alarms());
        daemon
    };
    let contents: [&[u8]; 8] = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe\x00",
        &b"[".repeat(1_000_000),
        b"{\"version\": 99, \"entries\": []}",
        b"{\"version\": 1, \"entries\": [{\"list\":\"blocked\",\"prefix\":\"192.0.2.0/24\",\"a",
    ];
    fs::create_dir(home.path("state")).expect("a folder");
    fs::write(&path, contents[0]).expect("written");
    drop(start("no copy yet", 0));
    fs::remove_file(&aside).expect("removed");
    let daemon = home.start(&namespace);
    assert_eq!(alarms(), "[]");
    home.json(&["block", "192.0.2.0/24"]);
    home.json(&["approve", "198.51.100.7"]);
    drop(daemon);
    for bytes in contents {
        let what = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        fs::write(&path, bytes).expect("written");
        let daemon = start(&what, 2);
        assert_eq!(fs::read(&aside).expect("put aside"), bytes, "{what}");
        fs::remove_file(&aside).expect("removed");
        wait_for("the alarm's end", || alarms() == "[]");
        drop(daemon);
    }
    for what in ["a FIFO", "a folder"] {
        fs::remove_file(&path).expect("removed");
        match what {
            "a FIFO" => fifo(&path),
            _ => fs::create_dir(&path).expect("a folder"),
        }
        drop(start(what, 2));
        _ = fs::remove_file(&aside);
    }
    // The journal of what changed since, which is read with either.
    fs::create_dir(home.path("state/runtime.journal")).expect("a folder");
    let _daemon = home.start(&namespace);
    wait_for("the alarm", || alarms().contains("runtime.journal"));
    home.json(&["block", "203.0.113.1"]);
    assert_eq!(home.json(&["status"])["generation"]["runtime_entries"], 3);
}
