//! The disk.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use mxdp_tests::daemon::{Daemon, wait_for};
use mxdp_tests::pace::lasting;
use mxdp_tests::peers::clients::said;
use mxdp_tests::peers::relays::Sink;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{PORT, alarms, deliver, host, source};

/// A file system in a folder, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn new(folder: PathBuf, size: &str) -> Self {
        fs::create_dir(&folder).expect("a folder");
        let options = format!("size={size},mode=0700");
        mount(Some("state"), &folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
            .expect("a file system (root)");
        Self(folder)
    }

    /// Leaves no room on it, and gives the file that takes all.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = fs::File::create(&path).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_state_folder_refuses_changes_that_would_not_last() {
    let host = host("", "", "");
    let record = format!("[record]\nfolder = \"{}\"\n", host.home.path("record").display());
    let text = fs::read_to_string(host.home.path("mxdp.toml")).expect("the configuration");
    host.home.write("mxdp.toml", text + &record);
    let disk = Disk::new(host.home.path("state"), "256k");
    let _sink = Sink::start(&host.namespace, PORT, &[]);
    let daemon = host.start();
    let kernel = |address: &str, daemon: &Daemon<'_>| -> Value {
        daemon.look_up(address.parse().expect("an address"))["kernel"]["action"].clone()
    };
    let kept = "198.51.100.1";
    _ = host.home.json(&["block", "add", kept]);
    let soon = format!("{}s", lasting(Duration::from_secs(15)).as_secs());
    // Its end needs more room than those of the others.
    let ends = "2001:db8:1111:2222:3333:4444:5555:6666";
    _ = host.home.json(&["block", "add", ends, "--for", &soon]);
    assert_eq!(kernel(ends, &daemon), "drop");
    let ballast = disk.fill();
    // What still fits into the last page of the journal is kept.
    let mut more = 0;
    let refused = loop {
        let address = format!("198.51.101.{more}");
        let output = host.home.run(&["block", "add", &address, "--note", &"x".repeat(200)]);
        if !output.status.success() {
            break output;
        }
        more += 1;
        assert!(more < 100, "the disk is not full");
    };
    let mut less = 0;
    while host.home.run(&["block", "remove", &format!("198.51.101.{less}")]).status.success() {
        less += 1;
        assert!(less < more, "the disk is not full");
    }
    let text = said(&refused);
    assert!(text.contains("was not saved") && text.contains("No space left"), "{text}");
    // As it was, and not half of it.
    assert_eq!(kernel(&format!("198.51.101.{more}"), &daemon), "pass");
    assert_eq!(kernel(kept, &daemon), "drop");
    let listed = |count| host.home.json(&["block", "list"]).as_array().map(Vec::len) == Some(count);
    let left = more - less;
    assert!(listed(left + 2) || listed(left + 1), "{ends} may have lapsed");
    // Expiry needs no disk, nor do mail and lists.
    wait_for("the end of an entry", || kernel(ends, &daemon) == "pass");
    wait_for("an alarm", || alarms(&host).contains("have expired and cannot be removed: "));
    _ = host.home.json(&["temp", "add", "198.51.100.3", "--for", "10m"]);
    assert_eq!(kernel("198.51.100.3", &daemon), "drop");
    deliver(&host, source(1, 0)).expect("delivered");
    _ = host.home.json(&["reload"]);
    fs::remove_file(ballast).expect("removed");
    wait_for("the end of the alarm", || alarms(&host) == "[]");
    _ = host.home.json(&["block", "add", "198.51.100.2"]);
    assert_eq!(kernel("198.51.100.2", &daemon), "drop");
    daemon.end(Signal::SIGTERM);
    let daemon = host.start();
    assert_eq!(kernel("198.51.100.2", &daemon), "drop");
    assert_eq!(kernel(kept, &daemon), "drop");
}
