//! Configuration.

use std::fs;
use std::path::Path;

use mxdp_tests::daemon::Home;

use crate::{SOON, check, config_of, fifo, run};

#[test]
fn every_error_of_a_configuration_has_its_place() {
    let home = Home::new();
    let text = "\
[filter]
interfaces = [\"lo\", \"lo\", \"not a name\"]
ports = [25, 2525, 25, 70000, \"smtp\"]
mode = \"fast\"
persist = \"yes\"
prots = [25]
pin = \"relative\"
[blocked]
adresses = []
addresses = [\"192.0.2.300\", \"0.0.0.0/0\", 7]
files = [{ path = \"a\", on_bad_line = \"ignore\" }, \"b\", \"b\"]
countries = [\"Germany\"]
[limits]
prefixes = \"many\"
file_bytes = 1
[nonsense]
x = 1
[countries]
database = \"a\"
folder = \"b\"
";
    home.write("mxdp.toml", text);
    let config = config_of(&home);
    let places = [
        "2:21: filter.interfaces: lo is named twice",
        "2:27: filter.interfaces: `not a name` is not an interface name",
        "3:20: filter.ports: 25 is named twice",
        "3:24: filter.ports: ",
        "3:31: filter.ports: ",
        "4:8: filter.mode: ",
        "5:11: filter.persist: ",
        "6:1: filter.prots: ",
        "7:7: filter.pin: `relative` is not an absolute path",
        "9:1: blocked.adresses: ",
        "10:14: blocked.addresses: `192.0.2.300` is not an address or CIDR",
        "10:29: blocked.addresses: 0.0.0.0/0 would block every address",
        "10:42: blocked.addresses: ",
        "11:38: blocked.files.on_bad_line: ",
        "12:14: blocked.countries: ",
        "14:12: limits.prefixes: ",
        "15:14: limits.file_bytes: ",
        "16:2: nonsense: ",
        "20:10: countries.folder: a database is named as well",
    ];
    let outcome = check(&home);
    assert_eq!(outcome.code, Some(3), "{}", outcome.text);
    for place in places {
        outcome.says(&format!("error: {config}:{place}"));
    }
    outcome.says("b is named twice");
    let lines = outcome.text.lines().filter(|line| line.starts_with("error: ")).count();
    // And the files that it names and that are not there: two lists and a database.
    for file in ["a: cannot be read", "b: cannot be read", "(countries.database in "] {
        outcome.says(file);
    }
    assert_eq!(lines, places.len() + 1 + 3, "{}", outcome.text);
    let outcome = run(&home, "run", SOON);
    assert_eq!(outcome.code, Some(3), "{}", outcome.text);
    for place in places {
        outcome.says(&format!("{config}:{place}"));
    }
}

#[test]
fn a_configuration_that_is_none_is_named() {
    let home = Home::new();
    let config = config_of(&home);
    let refused = |what: &str| {
        for verb in ["check", "run"] {
            let outcome = run(&home, verb, SOON);
            assert_eq!(outcome.code, Some(3), "{what}: {}", outcome.text);
            outcome.says(&config);
            outcome.says(what);
            assert!(outcome.text.len() < 10_000, "{what}: {} bytes", outcome.text.len());
        }
    };
    refused("cannot be read: No such file or directory");
    fs::create_dir(&config).expect("a folder");
    refused("is not a file");
    fs::remove_dir(&config).expect("removed");
    fifo(Path::new(&config));
    refused("is not a file");
    fs::remove_file(&config).expect("removed");
    let contents: [(&[u8], &str); 8] = [
        (b"", "filter.interfaces: name at least one"),
        (b"\n\n[filter]\n", ":3:1: filter.interfaces: name at least one"),
        (b"[filter]\ninterfaces = []\n", "filter.interfaces: name at least one"),
        (b"[filter]\ninterfaces = [\"lo\n", ":2:"),
        (b"[filter]\ninterfaces = [\"lo\"]\ninterfaces = [\"lo\"]\n", ":3:1: "),
        (b"[filter]\ninterfaces = [\"l\xff\"]\n", ":2:"),
        (b"filter = 7\n", ":1:10: filter: "),
        (b"\0\0\0\0", ":1:1: "),
    ];
    for (bytes, what) in contents {
        home.write("mxdp.toml", bytes);
        refused(what);
    }
    home.write("mxdp.toml", " ".repeat(2 << 20));
    refused("is larger than 1048576 bytes");
    for deep in ["[", "{a=", "a."] {
        home.write("mxdp.toml", format!("x = {}", deep.repeat(200_000)));
        refused(":1:");
    }
    home.write("mxdp.toml", format!("{}x = 1", "a.".repeat(200_000)));
    refused(":1:");
}
