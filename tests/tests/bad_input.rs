//! Bad input: every error is clear, named, bounded in time and size, and leaves
//! what is in force in force.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mxdp::lists::{Countries, CountryLimits};
use mxdp_tests::daemon::{Home, files_below, wait_for};
use mxdp_tests::mmdb::{Mmdb, Record, map, pointer, text};
use mxdp_tests::netns::Namespace;
use mxdp_tests::peers::{self, Process};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

/// How long a run may take that has little to do.
const SOON: Duration = Duration::from_secs(20);

/// How long a run may take that has much to do.
const LATE: Duration = Duration::from_secs(60);

const LOOPBACK: &str = "interfaces = [\"lo\"]\nmode = \"generic\"";

/// What a run came to.
struct Outcome {
    code: Option<i32>,
    /// Standard output, then standard error.
    text: String,
}

impl Outcome {
    fn says(&self, what: &str) {
        assert!(self.text.contains(what), "`{what}` is missing in:\n{}", self.text);
    }
}

/// Runs a command to its end, with `stdin`, and fails if it takes longer than
/// `patience`.
fn finish(command: &mut Command, stdin: Stdio, patience: Duration) -> Outcome {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = ["out", "err"].map(|name| folder.path().join(name));
    let [out, err] = paths.each_ref().map(|path| File::create(path).expect("a file"));
    command.stdin(stdin).stdout(out).stderr(err);
    let mut process = Process(command.spawn().expect("it starts"));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = process.0.try_wait().expect("its state") {
            break status;
        }
        assert!(start.elapsed() < patience, "it hangs: {command:?}");
        thread::sleep(Duration::from_millis(5));
    };
    let text = paths.map(|path| String::from_utf8(fs::read(path).expect("read")).expect("UTF-8"));
    Outcome { code: status.code(), text: text.concat() }
}

fn config_of(home: &Home) -> String {
    home.path("mxdp.toml").to_str().expect("UTF-8").to_owned()
}

/// `mxdp VERB -c mxdp.toml`.
fn run(home: &Home, verb: &str, patience: Duration) -> Outcome {
    finish(&mut home.mxdp(None, &[verb, "-c", &config_of(home)]), Stdio::null(), patience)
}

fn check(home: &Home) -> Outcome {
    run(home, "check", SOON)
}

/// `mxdp ARGUMENTS…` without any privilege. The folder of `home` is opened for all
/// to read.
fn as_nobody(home: &Home, arguments: &[&str]) -> Command {
    let binary = home.path("mxdp");
    if !binary.exists() {
        // The build's folders may be closed to others. By a process of its own:
        // what this one has open for writing, its other children have too, and
        // then nobody may execute it.
        let mut copy = Command::new("install");
        copy.arg("-m755").arg(peers::mxdp()).arg(&binary);
        assert!(copy.status().expect("install(1) starts").success());
        let open = Permissions::from_mode(0o755);
        fs::set_permissions(home.path("."), open).expect("opened");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    command.arg(binary).args(arguments).env("NO_COLOR", "1");
    command
}

fn fifo(path: &Path) {
    mkfifo(path, Mode::S_IRWXU).expect("a FIFO");
}

// Lists.

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
        ("utf-16", ":1: "),
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
    // The daemon says the same, and starts nothing.
    let outcome = run(&home, "run", SOON);
    assert_eq!(outcome.code, Some(3), "{}", outcome.text);
    for (name, what) in cases {
        outcome.says(&format!("{}{what}", home.path(name).display()));
    }
    assert_eq!(files_below(&home.pins()), Vec::<PathBuf>::new());
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
            if on_bad_line == "refuse" {
                assert_eq!(outcome.code, Some(3), "{name}: {}", outcome.text);
                outcome.says(what);
            } else {
                assert_eq!(outcome.code, Some(0), "{name}: {}", outcome.text);
            }
        }
    }
}

// Country databases.

const LIMITS: CountryLimits = CountryLimits { networks: 1_000_000 };

/// Reads a database and fails when that takes long.
fn read(bytes: Vec<u8>) -> Result<Countries, String> {
    let start = Instant::now();
    let result = Countries::from_mmdb("db", bytes, true, &LIMITS);
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    result
}

fn country(countries: &Countries, address: &str) -> Option<String> {
    countries.country(address.parse().expect("an address")).map(|code| code.to_string())
}

#[test]
fn the_written_database_is_a_good_one() {
    let countries = read(Mmdb::sample().bytes()).expect("a good database");
    assert_eq!(countries.len(), 5);
    for (address, code) in [
        ("192.0.2.255", Some("AT")),
        ("192.0.3.0", None),
        ("198.51.100.127", Some("DE")),
        ("198.51.100.128", Some("FR")),
        ("203.0.113.7", Some("NZ")),
        ("203.0.113.8", None),
        ("10.255.255.255", Some("CH")),
        ("2001:db8::1", None),
    ] {
        assert_eq!(country(&countries, address).as_deref(), code, "{address}");
    }
}

#[test]
fn a_truncated_database_is_refused_at_every_length() {
    let bytes = Mmdb::sample().bytes();
    for length in 0..bytes.len() {
        let error = read(bytes[..length].to_vec()).expect_err("truncated");
        assert!(!error.is_empty(), "{length}");
    }
    // The front is missing: what is left may pass for a smaller file.
    for start in 1..bytes.len() {
        _ = read(bytes[start..].to_vec());
    }
}

#[test]
fn a_database_with_any_bit_flipped_ends_in_a_result() {
    let bytes = Mmdb::sample().bytes();
    for position in 0..bytes.len() {
        for mask in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut flipped = bytes.clone();
            flipped[position] ^= mask;
            _ = read(flipped);
        }
    }
}

#[test]
fn a_tree_whose_nodes_share_children_ends_soon() {
    for ip_version in [4, 6] {
        let levels = if ip_version == 4 { 32 } else { 128 };
        for end in [Record::Nothing, Record::Data(0), Record::Node(0), Record::Node(levels - 1)] {
            let mut mmdb = Mmdb::sample();
            mmdb.ip_version = ip_version;
            mmdb.nodes = (1..levels).map(|next| [Record::Node(next); 2]).collect();
            mmdb.nodes.push([end; 2]);
            assert!(read(mmdb.bytes()).is_err(), "2^{levels} networks were taken");
            // A node that is its own child.
            mmdb.nodes = vec![[Record::Node(0), end]];
            _ = read(mmdb.bytes());
            mmdb.nodes = vec![[Record::Node(0); 2]];
            _ = read(mmdb.bytes());
        }
    }
}

/// Through the binary, since a stack that overflows would end the tests.
#[test]
fn a_bad_database_is_named_by_check() {
    let home = Home::new();
    home.configure(LOOPBACK, "[countries]\ndatabase = \"db\"\n[blocked]\ncountries = [\"AT\"]");
    let path = home.path("db").display().to_string();
    let refused = |what: &str| {
        let outcome = check(&home);
        assert_eq!(outcome.code, Some(3), "{what}: {}", outcome.text);
        outcome.says(&format!("error: {path}: "));
        assert!(outcome.text.len() < 2000, "{what}: {}", outcome.text);
    };
    refused("missing");
    check(&home).says(&format!("(countries.database in {})", config_of(&home)));
    fs::create_dir(home.path("db")).expect("a folder");
    refused("folder");
    fs::remove_dir(home.path("db")).expect("removed");
    fifo(&home.path("db"));
    refused("fifo");
    fs::remove_file(home.path("db")).expect("removed");
    let bytes = Mmdb::sample().bytes();
    home.write("db", b"");
    refused("empty");
    home.write("db", "rubbish ".repeat(100_000));
    refused("garbage");
    for length in [1, bytes.len() / 4, bytes.len() / 2, bytes.len() - 1] {
        home.write("db", &bytes[..length]);
        refused("truncated");
    }
    home.write("db", bytes);
    assert_eq!(check(&home).code, Some(0));
    // One that knows other things of networks, and not their countries.
    let mut other = Mmdb::sample();
    other.data = other.data.repeat(2);
    other.data.fill(0xe0);
    home.write("db", other.bytes());
    refused("no countries");
    check(&home).says(&format!("{path}: names no country: is it a country database?"));

    // Data that nests, points in circles, or doubles with each level.
    let with_data = |data: Vec<u8>, start: usize| {
        let mut mmdb = Mmdb::new(4);
        mmdb.nodes[0] = [Record::Data(u32::try_from(start).expect("small")), Record::Nothing];
        mmdb.data = data;
        mmdb.bytes()
    };
    let inside = |value: Vec<u8>| map(&[("other", value)]);
    let nested_maps = b"\xe1\x41x".repeat(1_000_000);
    let nested_lists = [1, 4].repeat(1_000_000);
    let mut doubling = text("x");
    let mut last = 0;
    for _ in 0..64 {
        let here = doubling.len();
        doubling.extend([2, 4]);
        doubling.extend(pointer(last));
        doubling.extend(pointer(last));
        last = here;
    }
    let start = doubling.len();
    doubling.extend(inside(pointer(last)));
    for (what, data, start) in [
        ("nested maps", nested_maps, 0),
        ("nested lists", inside(nested_lists), 0),
        ("a pointer to itself", pointer(0), 0),
        ("a map in itself", inside(pointer(0)), 0),
        ("doubling", doubling, start),
        ("a pointer out of the file", pointer(0xffff_ffff), 0),
        ("a long text", b"\x5f\xff\xff\xff".to_vec(), 0),
        ("a large map", b"\xff\xff\xff\xff".to_vec(), 0),
    ] {
        home.write("db", with_data(data, start));
        let outcome = check(&home);
        assert!([Some(0), Some(3)].contains(&outcome.code), "{what}: {:?}", outcome.code);
        assert!(outcome.text.len() < 2000, "{what}: {}", outcome.text);
    }
}

// Configuration.

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
        "2:27: filter.interfaces: `not a name` is no interface name",
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
    assert_eq!(lines, places.len() + 1, "{}", outcome.text);
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

// Starting.

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

// Reloading.

/// A daemon on the loopback of a namespace of its own.
struct Scene {
    namespace: Namespace,
    home: Home,
}

impl Scene {
    fn new(watch: bool) -> Self {
        let scene = Self { namespace: Namespace::new("mxb"), home: Home::new() };
        scene.restore(watch, "");
        scene
    }

    /// What is good.
    fn restore(&self, watch: bool, rest: &str) {
        for name in ["list", "db", "mxdp.toml"] {
            let path = self.home.path(name);
            _ = fs::remove_dir(&path);
            _ = fs::remove_file(&path);
        }
        self.home.write("list", "192.0.2.0/24\n");
        self.home.write("db", Mmdb::sample().bytes());
        self.configure(LOOPBACK, watch, rest);
    }

    fn configure(&self, filter: &str, watch: bool, rest: &str) {
        let lists = "[blocked]\nfiles = [\"list\"]\ncountries = [\"FR\"]\n\
                     [countries]\ndatabase = \"db\"\n[limits]\nfile_bytes = 65536\n";
        self.home.configure(filter, &format!("{lists}[reload]\nwatch = {watch}\n{rest}"));
    }

    fn generation(&self) -> u64 {
        self.status()["generation"]["number"].as_u64().expect("a number")
    }

    fn status(&self) -> Value {
        self.home.json(&["status"])
    }

    /// The class of an address, by the lists and by the kernel.
    fn class(&self, address: &str) -> String {
        let answer = self.home.json(&["lookup", "--live", address]);
        assert_eq!(answer["agree"], true, "{answer}");
        answer["class"].as_str().expect("a class").to_owned()
    }

    fn assert_good(&self, generation: u64) {
        assert_eq!(self.generation(), generation);
        assert_eq!(self.class("192.0.2.9"), "blocked_ip");
        assert_eq!(self.class("198.51.100.200"), "blocked_country");
        assert_eq!(self.class("198.51.100.1"), "none");
    }

    fn reload(&self) -> Outcome {
        finish(&mut self.home.mxdp(None, &["reload"]), Stdio::null(), SOON)
    }
}

/// What is damaged, what is said of it, and how it is damaged.
type Damage<'a> = (&'static str, String, Box<dyn Fn() + 'a>);

#[test]
fn a_reload_that_fails_leaves_what_is_in_force() {
    let scene = Scene::new(false);
    let _daemon = scene.home.start(&scene.namespace);
    scene.assert_good(1);
    let path = |name: &str| scene.home.path(name).display().to_string();
    let [list, db, config] = ["list", "db", "mxdp.toml"].map(path);
    let (list, db, config) = (list.as_str(), db.as_str(), config.as_str());
    let remove = |path: &str| fs::remove_file(path).expect("removed");
    let write = |path: &str, bytes: &[u8]| fs::write(path, bytes).expect("written");
    let append = |path: &str, text: &str| {
        let mut file = File::options().append(true).open(path).expect("opened");
        file.write_all(text.as_bytes()).expect("written");
    };
    let sample = Mmdb::sample().bytes();
    let cases: Vec<Damage<'_>> = vec![
        ("no list", format!("{list}: "), Box::new(|| remove(list))),
        (
            "a folder as list",
            format!("{list}: is not a file"),
            Box::new(|| {
                remove(list);
                fs::create_dir(list).expect("a folder");
            }),
        ),
        (
            "a FIFO as list",
            format!("{list}: is not a file"),
            Box::new(|| {
                remove(list);
                fifo(Path::new(list));
            }),
        ),
        ("a bad line", format!("{list}:2: `198.51"), Box::new(|| append(list, "198.51"))),
        ("no text", format!("{list}:1: "), Box::new(|| write(list, b"\xff\xfe\n"))),
        ("a large list", format!("{list}: "), Box::new(|| write(list, &[b'\n'; 70_000]))),
        ("no database", format!("{db}: "), Box::new(|| remove(db))),
        ("an empty database", format!("{db}: "), Box::new(|| write(db, b""))),
        ("garbage for a database", format!("{db}: "), Box::new(|| write(db, &[b'x'; 9000]))),
        ("half a database", format!("{db}: "), Box::new(|| write(db, &sample[..300]))),
        ("no configuration", format!("{config}: "), Box::new(|| remove(config))),
        ("an unknown section", format!("{config}:"), Box::new(|| append(config, "[fliter]\n"))),
        ("no TOML", format!("{config}:"), Box::new(|| append(config, "= =\n"))),
        (
            "a wrong type",
            format!("{config}:"),
            Box::new(|| append(config, "[temporary]\ncapacity = \"large\"\n")),
        ),
        (
            "no such interface",
            "there is no interface mxnone0".to_owned(),
            Box::new(|| {
                write(list, b"203.0.113.0/24\n");
                scene.configure(
                    "interfaces = [\"lo\", \"mxnone0\"]\nmode = \"generic\"",
                    false,
                    "",
                );
            }),
        ),
    ];
    let mut generation = 1;
    for (what, words, damage) in &cases {
        damage();
        let outcome = scene.reload();
        assert!([Some(1), Some(3)].contains(&outcome.code), "{what}: {}", outcome.text);
        outcome.says(words);
        scene.assert_good(generation);
        let failed = &scene.status()["failed_reload"];
        let message = failed["message"].as_str().unwrap_or_else(|| panic!("{what}: {failed}"));
        assert!(message.contains(words), "{what}: {message}");
        assert!(failed["at"].as_u64().expect("a time") > 1_700_000_000, "{what}");

        scene.restore(false, "");
        let outcome = scene.reload();
        assert_eq!(outcome.code, Some(0), "{what}: {}", outcome.text);
        generation += 1;
        scene.assert_good(generation);
        assert_eq!(scene.status()["failed_reload"], Value::Null, "{what}");
    }
}

#[test]
fn changed_files_are_noticed_and_bad_ones_change_nothing() {
    let scene = Scene::new(true);
    let _daemon = scene.home.start(&scene.namespace);
    scene.assert_good(1);
    let failed = || scene.status()["failed_reload"]["message"].as_str().map(str::to_owned);

    // A configuration replaced by a rename, as editors and packages do.
    let text = fs::read_to_string(scene.home.path("mxdp.toml")).expect("read");
    let more = text.replace("[blocked]\n", "[blocked]\naddresses = [\"203.0.113.1\"]\n");
    scene.home.write(".next", more);
    fs::rename(scene.home.path(".next"), scene.home.path("mxdp.toml")).expect("renamed");
    wait_for("the new configuration", || scene.class("203.0.113.1") == "blocked_ip");
    let generation = scene.generation();
    assert_eq!(failed(), None);

    // A list that is deleted, and comes back with something more in it.
    let list = scene.home.path("list");
    fs::remove_file(&list).expect("removed");
    wait_for("the failed reload", || failed().is_some());
    assert!(failed().expect("a message").contains(&list.display().to_string()));
    scene.assert_good(generation);
    scene.home.write("list", "192.0.2.0/24\n203.0.113.2\n");
    wait_for("the list", || scene.class("203.0.113.2") == "blocked_ip");
    assert_eq!(failed(), None);
    assert!(scene.generation() > generation);

    // A broken configuration, then the good one by a rename once more.
    let generation = scene.generation();
    scene.home.write("mxdp.toml", "[filter]\ninterfaces = 7\n");
    wait_for("the failed reload", || failed().is_some());
    let message = failed().expect("a message");
    assert!(message.contains("mxdp.toml:2:14: filter.interfaces: "), "{message}");
    scene.assert_good(generation);
    scene.home.write(".next", text);
    fs::rename(scene.home.path(".next"), scene.home.path("mxdp.toml")).expect("renamed");
    wait_for("the old configuration", || scene.class("203.0.113.1") == "none");
    assert_eq!(failed(), None);

    // A list that is named before it is there.
    let text = fs::read_to_string(scene.home.path("mxdp.toml")).expect("read");
    scene.home.write(
        "mxdp.toml",
        text.replace("[blocked]\n", "[known_spam_sources]\nfiles = [\"late\"]\n[blocked]\n"),
    );
    wait_for("the failed reload", || failed().is_some());
    scene.home.write("late", "203.0.113.9\n");
    wait_for("the late list", || scene.class("203.0.113.9") == "known_spam_source");
}

// Looking up.

#[test]
fn anyone_may_look_up() {
    let home = Home::new();
    home.write("approved", "# ours\n192.0.2.128/25 relay\n2001:db8:1::/48\n");
    home.write("blocked", "192.0.2.0/24\n2001:db8::/32\n::ffff:203.0.113.0/120\n");
    home.write("spam", "100.64.0.0/10 ; SBL1\n");
    home.write("db", Mmdb::sample().bytes());
    home.configure(
        LOOPBACK,
        "[approved]\nfiles = [\"approved\"]\ncountries = [\"CH\"]\n\
         [blocked]\nfiles = [\"blocked\"]\ncountries = [\"FR\"]\naddresses = [\"10.1.0.0/16\"]\n\
         [known_spam_sources]\nfiles = [\"spam\"]\n[countries]\ndatabase = \"db\"",
    );
    let config = config_of(&home);
    let text = fs::read_to_string(&config).expect("read");
    let at = |what: &str| text.lines().position(|line| line.contains(what)).expect("a line") + 1;
    let inline = format!("mxdp.toml:{}", at("10.1.0.0/16"));
    let cases = [
        ("192.0.2.1", "blocked_ip", "drop", "192.0.2.0/24", "blocked:1", "AT"),
        ("192.0.2.200", "approved_ip", "pass", "192.0.2.128/25", "approved:2", "AT"),
        ("::ffff:192.0.2.1", "blocked_ip", "drop", "192.0.2.0/24", "blocked:1", "AT"),
        ("2001:db8::1", "blocked_ip", "drop", "2001:db8::/32", "blocked:2", ""),
        ("2001:db8:1::1", "approved_ip", "pass", "2001:db8:1::/48", "approved:3", ""),
        ("203.0.113.7", "blocked_ip", "drop", "203.0.113.0/24", "blocked:3", "NZ"),
        ("100.127.255.255", "known_spam_source", "reject", "100.64.0.0/10", "spam:1", ""),
        ("10.1.2.3", "blocked_ip", "drop", "10.1.0.0/16", &inline, "CH"),
        ("10.2.2.3", "approved_country", "pass", "10.0.0.0/8", "db", "CH"),
        ("198.51.100.130", "blocked_country", "drop", "198.51.100.128/25", "db", "FR"),
        ("198.51.100.1", "none", "pass", "", "", "DE"),
        ("8.8.8.8", "none", "pass", "", "", ""),
        ("::1", "none", "pass", "", "", ""),
    ];
    let or_null = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    let assert_answers = |outcome: &Outcome| {
        let lines: Vec<_> =
            outcome.text.lines().filter(|line| line.contains("\"class\"")).collect();
        assert_eq!(lines.len(), cases.len(), "{}", outcome.text);
        for (line, (ip, class, action, prefix, source, country)) in lines.iter().zip(cases) {
            let answer: Value = serde_json::from_str(line).expect("JSON");
            let ip: std::net::IpAddr = ip.parse().expect("an address");
            assert_eq!(answer["ip"], json!(ip.to_canonical()), "{line}");
            assert_eq!(answer["class"], class, "{line}");
            assert_eq!(answer["action"], action, "{line}");
            assert_eq!(answer["prefix"], or_null(prefix), "{line}");
            assert_eq!(answer["country"], or_null(country), "{line}");
            let path = home.path(source).display().to_string();
            let source = if source.is_empty() { "" } else { &path };
            assert_eq!(answer["source"], or_null(source), "{line}");
        }
    };
    let given = cases.map(|(ip, ..)| ip);
    let arguments = [&["lookup", "-c", &config, "--json"], &given[..]].concat();
    let outcome = finish(&mut as_nobody(&home, &arguments), Stdio::null(), SOON);
    assert_eq!(outcome.code, Some(0), "{}", outcome.text);
    assert_answers(&outcome);

    let stdin = |bytes: &[u8]| {
        home.write("stdin", bytes);
        Stdio::from(File::open(home.path("stdin")).expect("opened"))
    };
    let arguments = ["lookup", "-c", &config, "--json", "-"];
    let outcome =
        finish(&mut as_nobody(&home, &arguments), stdin(given.join("\r\n").as_bytes()), SOON);
    assert_eq!(outcome.code, Some(0), "{}", outcome.text);
    assert_answers(&outcome);

    // Bad lines are named, and the rest is answered.
    let mut mixed = b"192.0.2.300\n".to_vec();
    for ip in given {
        mixed.extend(format!("{ip}\n\n# a comment\n").bytes());
    }
    mixed.extend(b"\xff\xfe\n192.0.2.0/24\n");
    mixed.extend([b'1'; 100_000]);
    let outcome = finish(&mut as_nobody(&home, &arguments), stdin(&mixed), SOON);
    assert_eq!(outcome.code, Some(1), "{}", outcome.text);
    assert_answers(&outcome);
    outcome.says("standard input, line 1: `192.0.2.300` is no address");
    outcome.says("standard input, line 42: `192.0.2.0/24` is no address");
    assert!(outcome.text.len() < 10_000, "{} bytes", outcome.text.len());
}

#[test]
fn a_hundred_thousand_addresses_are_looked_up_soon() {
    const COUNT: u32 = 100_000;
    let home = Home::new();
    let address = |n: u32| Ipv4Addr::from_bits(0x0a00_0000 + 7 * n);
    let mut list = String::new();
    let mut input = String::new();
    for n in 0..COUNT {
        writeln!(list, "{}", address(n)).expect("written");
        writeln!(input, "{}", address(2 * n)).expect("written");
    }
    home.write("list", list);
    home.write("stdin", input);
    home.configure(LOOPBACK, "[blocked]\nfiles = [\"list\"]");
    let stdin = Stdio::from(File::open(home.path("stdin")).expect("opened"));
    let arguments = ["lookup", "-c", &config_of(&home), "--json", "-"];
    let outcome = finish(&mut as_nobody(&home, &arguments), stdin, SOON);
    assert_eq!(outcome.code, Some(0));
    let blocked = outcome.text.matches("\"class\":\"blocked_ip\"").count();
    assert_eq!((outcome.text.lines().count(), blocked), (COUNT as usize, COUNT as usize / 2));
}
