//! Starting.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use mxdp_tests::daemon::{Home, files_below};
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

#[test]
fn damaged_runtime_entries_are_named_and_left_alone() {
    let home = Home::new();
    home.configure(LOOPBACK, "");
    let namespace = Namespace::new("mxb");
    fs::create_dir(home.path("state")).expect("a folder");
    let path = home.path("state/runtime.json");
    let refused = |what: &str| {
        let mut command = home.mxdp(Some(&namespace), &["run", "-c", &config_of(&home)]);
        let outcome = finish(&mut command, Stdio::null(), SOON);
        assert_eq!(outcome.code, Some(3), "{what}: {}", outcome.text);
        outcome.says(&path.display().to_string());
        assert_eq!(files_below(&home.pins()), Vec::<PathBuf>::new(), "it left pins");
    };
    let entry = r#"{"list":"blocked","prefix":"192.0.2.0/24","added_at":1}"#;
    let contents: [&[u8]; 8] = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe\x00",
        &b"[".repeat(1_000_000),
        b"{\"version\": 99, \"entries\": []}",
        &format!("{{\"version\": 1, \"entries\": [{entry}").into_bytes(),
    ];
    for bytes in contents {
        fs::write(&path, bytes).expect("written");
        refused(&String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
        assert_eq!(fs::read(&path).expect("read"), bytes, "it was touched");
    }
    fs::remove_file(&path).expect("removed");
    fifo(&path);
    refused("a FIFO");
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("a folder");
    refused("a folder");
}
