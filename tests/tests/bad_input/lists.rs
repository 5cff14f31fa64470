//! Lists.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Stdio;

use mxdp_tests::daemon::{Home, wait_for};
use mxdp_tests::netns::Namespace;

use crate::{LATE, LOOPBACK, SOON, as_nobody, check, config_of, fifo, finish, run};

#[test]
fn every_bad_list_is_named_in_one_run() {
    let home = Home::new();
    fs::create_dir(home.path("folder")).expect("a folder");
    home.write("truncated", "192.0.2.1\n198.51.10");
    home.write("binary", b"192.0.2.1\n\xff\xfe\xfd\n");
    home.write("utf-16", b"\xff\xfe1\x009\x002\x00");
    home.write("large", "192.0.2.1\n".repeat(410));
    home.write("nul", b"192.0.2.1\0\n");
    home.write("escape", "\x1b[2J\x1b[31mgood\n");
    fifo(&home.path("fifo"));
    symlink(home.path("nowhere"), home.path("dangling")).expect("a link");
    symlink(home.path("loop"), home.path("loop")).expect("a link");
    let _socket = std::os::unix::net::UnixListener::bind(home.path("socket")).expect("a socket");
    let cases = [
        ("missing", ": cannot be read: No such file or directory"),
        ("folder", ": is not a file"),
        ("truncated", ":2: `198.51.10`: is not an IPv4 or IPv6 address or CIDR"),
        ("binary", ":2: `\u{fffd}\u{fffd}\u{fffd}`: the line is not UTF-8 text"),
        ("utf-16", ":1: the file is UTF-16 text; save it as UTF-8"),
        ("large", ": is larger than 4096 bytes; raise limits.file_bytes if that is right"),
        ("nul", ":1: `192.0.2.1\\u{0}`: is not an IPv4 or IPv6 address or CIDR"),
        ("escape", ":1: `\\u{1b}[2J\\u{1b}[31mgood`: is not an IPv4"),
        ("fifo", ": is not a file"),
        ("dangling", ": cannot be read: No such file or directory"),
        ("loop", ": cannot be read: Too many levels of symbolic links"),
        ("socket", ": "),
        ("/dev/zero", ": is not a file"),
        ("/dev/null", ": is not a file"),
        ("/proc/self/mem", ": "),
    ];
    let names: Vec<_> = cases.iter().map(|(name, _)| format!("{name:?}")).collect();
    let rest = format!("[blocked]\nfiles = [{}]\n[limits]\nfile_bytes = 4096", names.join(", "));
    home.configure(LOOPBACK, &rest);

    let config = config_of(&home);
    let outcome = check(&home);
    assert_eq!(outcome.code, Some(3), "{}", outcome.text);
    for (name, what) in cases {
        outcome.says(&format!("error: {}{what}", home.path(name).display()));
    }
    assert!(!outcome.text.contains('\x1b'), "an escape sequence came through");
    outcome.says(&format!("No such file or directory (os error 2) (blocked.files at {config}:"));
    // The daemon reports the same, and starts without them.
    let namespace = Namespace::new("mxb");
    let _daemon = home.start(&namespace);
    wait_for("an alarm for each list", || {
        let alarms = home.json(&["status"])["alarms"].to_string();
        cases.iter().all(|(name, _)| alarms.contains(&home.path(name).display().to_string()))
    });
    let alarms = home.json(&["status"])["alarms"].to_string();
    for (name, what) in cases {
        let what = format!("{}{what}", home.path(name).display());
        let what = serde_json::to_string(&what).expect("JSON");
        assert!(alarms.contains(what.trim_matches('"')), "{what}: {alarms}");
    }
}

#[test]
fn a_list_that_may_not_be_read_is_named() {
    let home = Home::new();
    fs::create_dir(home.path("closed")).expect("a folder");
    home.write("closed/inner", "192.0.2.1\n");
    home.write("secret", "192.0.2.1\n");
    for name in ["closed", "secret"] {
        fs::set_permissions(home.path(name), Permissions::from_mode(0o600)).expect("closed");
    }
    home.configure(LOOPBACK, "[blocked]\nfiles = [\"secret\", \"closed/inner\"]");
    let mut command = as_nobody(&home, &["check", "-c", &config_of(&home)]);
    let outcome = finish(&mut command, Stdio::null(), SOON);
    assert_eq!(outcome.code, Some(3), "{}", outcome.text);
    for name in ["secret", "closed/inner"] {
        let path = home.path(name);
        outcome.says(&format!("{}: cannot be read: Permission denied", path.display()));
    }
}

#[test]
fn more_entries_than_permitted_in_all_lists_together_name_the_line() {
    let home = Home::new();
    home.write("a", "192.0.2.1\n192.0.2.2\n");
    home.write("b", "# one is left\n192.0.2.3\n\n2001:db8::1\n");
    home.configure(LOOPBACK, "[blocked]\nfiles = [\"a\", \"b\"]\n[limits]\nprefixes = 3");
    let outcome = check(&home);
    assert_eq!(outcome.code, Some(3), "{}", outcome.text);
    outcome.says(&format!("{}:4: more entries than limits.prefixes", home.path("b").display()));
}

#[test]
fn huge_rubbish_ends_soon_and_says_little() {
    const SIZE: usize = 100 << 20;
    let home = Home::new();
    let garbage = "what stands here is no address, whatever one makes of it\n";
    let contents: [(&str, Vec<u8>, &str); 3] = [
        ("line", vec![b'1'; SIZE], ":1: "),
        ("garbage", garbage.repeat(SIZE / garbage.len()).into_bytes(), "more bad lines"),
        ("zeros", vec![0; SIZE], ":1: "),
    ];
    for (name, bytes, what) in contents {
        home.write("list", bytes);
        for on_bad_line in ["refuse", "skip"] {
            let list = format!("{{ path = \"list\", on_bad_line = \"{on_bad_line}\" }}");
            home.configure(LOOPBACK, &format!("[blocked]\nfiles = [{list}]"));
            let outcome = run(&home, "check", LATE);
            assert!(outcome.text.len() < 10_000, "{name}: {} bytes", outcome.text.len());
            assert_eq!(outcome.code, Some(3), "{name}: {}", outcome.text);
            if on_bad_line == "refuse" {
                outcome.says(what);
            } else {
                outcome.says("not a single entry can be read");
            }
        }
    }
}
