//! The Debian package and the units in it: looked at, installed, started, upgraded and
//! removed under a real systemd.

use std::fs;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mxdp_tests::daemon::wait_for;
use mxdp_tests::netns::{Pair, connect};
use mxdp_tests::peers;
use mxdp_tests::systemd::Machine;
use serde_json::Value;
use tempfile::TempDir;

/// The score of `systemd-analyze security` of systemd 252, times ten: 0 is best, 100 worst.
const EXPOSURE: u32 = 24;

const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(10);

/// The package, made once of the binary under test.
fn package() -> &'static Path {
    static PACKAGE: OnceLock<PathBuf> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        let xtask = peers::mxdp().with_file_name("xtask");
        assert!(xtask.exists(), "{} is missing; run `cargo xtask test`", xtask.display());
        let mut command = Command::new(xtask);
        let output = command.args(["package", "--dev"]).env("MXDP_BIN", peers::mxdp()).output();
        let text = good(&output.expect("xtask starts"));
        PathBuf::from(text.trim())
    })
}

/// What a command printed that must have succeeded.
fn good(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn run(program: &str, arguments: &[&str]) -> String {
    good(&peers::command(program).args(arguments).output().expect("it starts"))
}

/// Where there is no dpkg, the same files go below a prefix.
#[test]
fn an_installation_below_a_prefix_runs_from_there_and_keeps_the_configuration() {
    let folder = TempDir::with_prefix("mxdp-installed-").expect("a folder");
    let at = |path: &str| folder.path().join(path);
    let install = || {
        let mut command = Command::new(peers::mxdp().with_file_name("xtask"));
        command.args(["install", "--dev", "--prefix", "/opt/mxdp", "--destdir"]).arg(folder.path());
        good(&command.env("MXDP_BIN", peers::mxdp()).output().expect("xtask starts"));
    };
    install();
    let unit = fs::read_to_string(at("opt/mxdp/lib/systemd/system/mxdp.service")).expect("a unit");
    assert!(unit.contains("\nExecStart=/opt/mxdp/bin/mxdp run\n"), "{unit}");
    assert!(unit.contains("\nExecReload=/opt/mxdp/bin/mxdp reload\n"), "{unit}");
    assert!(at("opt/mxdp/share/man/man1/mxdp.1.gz").exists());
    let version = run(at("opt/mxdp/bin/mxdp").to_str().expect("UTF-8"), &["--version"]);
    assert!(version.starts_with("mxdp "), "{version}");
    fs::write(at("etc/mxdp/mxdp.toml"), "mine").expect("written");
    install();
    assert_eq!(fs::read_to_string(at("etc/mxdp/mxdp.toml")).expect("there"), "mine");
}

/// The package's files, unpacked.
fn unpacked() -> TempDir {
    let folder = TempDir::with_prefix("mxdp-unpacked-").expect("a folder");
    let root = folder.path().to_str().expect("UTF-8");
    run("dpkg-deb", &["--extract", package().to_str().expect("UTF-8"), root]);
    folder
}

#[test]
fn the_package_has_what_it_should() {
    let package = package().to_str().expect("UTF-8");
    let field = |name| run("dpkg-deb", &["--field", package, name]).trim().to_owned();
    assert_eq!(field("Package"), "mxdp");
    assert!(field("Depends").starts_with("libc6 (>= 2."), "{}", field("Depends"));
    let contents = run("dpkg-deb", &["--contents", package]);
    for (path, mode) in [
        ("./usr/bin/mxdp", "-rwxr-xr-x root/root"),
        ("./usr/lib/systemd/system/mxdp.service", "-rw-r--r-- root/root"),
        ("./usr/lib/systemd/system/mxdp.socket", "-rw-r--r-- root/root"),
        ("./etc/mxdp/mxdp.toml", "-rw-r--r-- root/root"),
        ("./usr/share/man/man1/mxdp.1.gz", "-rw-r--r-- root/root"),
        ("./usr/share/bash-completion/completions/mxdp", "-rw-r--r-- root/root"),
        ("./usr/share/zsh/vendor-completions/_mxdp", "-rw-r--r-- root/root"),
        ("./usr/share/fish/vendor_completions.d/mxdp.fish", "-rw-r--r-- root/root"),
        ("./usr/share/doc/mxdp/copyright", "-rw-r--r-- root/root"),
        ("./usr/share/doc/mxdp/third-party-notices.gz", "-rw-r--r-- root/root"),
        ("./usr/share/doc/mxdp/changelog.gz", "-rw-r--r-- root/root"),
        ("./usr/share/doc/mxdp/changelog.Debian.gz", "-rw-r--r-- root/root"),
    ] {
        let line = contents.lines().find(|line| line.ends_with(&format!(" {path}")));
        assert!(line.is_some_and(|line| line.starts_with(mode)), "{path}: {line:?}");
    }
    let control = TempDir::with_prefix("mxdp-control-").expect("a folder");
    let folder = control.path().to_str().expect("UTF-8");
    run("dpkg-deb", &["--control", package, folder]);
    assert_eq!(run("cat", &[&format!("{folder}/conffiles")]), "/etc/mxdp/mxdp.toml\n");
    for script in ["postinst", "prerm", "postrm"] {
        run("sh", &["-n", &format!("{folder}/{script}")]);
    }
}

#[test]
fn the_same_sources_make_the_same_package() {
    let first = fs::read(package()).expect("the package");
    let xtask = peers::mxdp().with_file_name("xtask");
    // The time of a file, and the mask of its mode, must not matter.
    let script = "umask 077; exec \"$0\" package --dev";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(xtask).env("MXDP_BIN", peers::mxdp());
    good(&command.output().expect("xtask starts"));
    assert!(fs::read(package()).expect("the package") == first, "two builds differ");
}

#[test]
fn what_is_installed_can_be_used() {
    let root = unpacked();
    let at = |path: &str| root.path().join(path).to_str().expect("UTF-8").to_owned();
    let mxdp = at("usr/bin/mxdp");
    let checked = run(&mxdp, &["check", "-c", &at("etc/mxdp/mxdp.toml")]);
    assert!(checked.contains("configuration OK, no warnings"), "{checked}");
    run("bash", &["-n", &at("usr/share/bash-completion/completions/mxdp")]);
    for (file, word) in [
        ("usr/share/zsh/vendor-completions/_mxdp", "#compdef mxdp"),
        ("usr/share/fish/vendor_completions.d/mxdp.fish", "complete -c mxdp"),
    ] {
        assert!(run("cat", &[&at(file)]).contains(word), "{file}");
    }
    for (section, least, heading) in [("1", 30, ".SH SYNOPSIS"), ("5", 1, "filter.interfaces")] {
        let pages = fs::read_dir(root.path().join("usr/share/man/man".to_owned() + section));
        let pages: Vec<_> =
            pages.expect("pages").map(|page| page.expect("a page").path()).collect();
        assert!(pages.len() >= least, "{}", pages.len());
        for page in pages {
            let name = page.to_str().expect("UTF-8");
            assert!(name.ends_with(&format!(".{section}.gz")), "{name}");
            let text = run("zcat", &[name]);
            assert!(text.contains(".TH mxdp") && text.contains(heading), "{name}");
        }
    }
    for example in ["small-office.toml", "README.md", "lists/approved.txt"] {
        assert!(root.path().join("usr/share/doc/mxdp/examples").join(example).is_file());
    }
    let notices = run("zcat", &[&at("usr/share/doc/mxdp/third-party-notices.gz")]);
    assert!(notices.contains("\naya ") && notices.contains("\nring "));
}

#[test]
fn systemd_finds_no_fault_with_the_units_and_little_exposure() {
    let pair = Pair::new();
    let machine = machine(&pair);
    install(&machine);
    machine.run(&["systemd-analyze", "verify", "--man=no", "mxdp.service", "mxdp.socket"]);
    let exposure = ["systemd-analyze", "security", "--offline=true", "--no-pager", "mxdp.service"];
    let text = machine.run(&exposure);
    let level = text
        .lines()
        .find_map(|line| line.split_once("Overall exposure level for ")?.1.split_once(": "));
    let level = level.and_then(|(_, rest)| rest.split(' ').next()).expect("a level");
    let tenths: u32 = level.replace('.', "").parse().expect("a number");
    println!("exposure: {level}");
    assert!(tenths <= EXPOSURE, "{text}");
}

/// A machine with the package at hand, between the edge and its client.
fn machine(pair: &Pair) -> Machine {
    let package = fs::read(package()).expect("the package");
    Machine::boot(&pair.edge, &[("/srv/mxdp.deb", &package)])
}

/// Installs the package, or upgrades to it, without the index of all manual pages.
fn install(machine: &Machine) {
    let how = ["dpkg", "--install", "--no-triggers", "--force-confold", "--force-unsafe-io"];
    machine.run(&[&how[..], &["/srv/mxdp.deb"]].concat());
}

/// A machine with mxdp installed, configured and started, and its client.
struct Scene {
    machine: Machine,
    pair: Pair,
}

const OVERRIDE: &str = "/etc/systemd/system/mxdp.service.d/test.conf";

impl Scene {
    fn new() -> Self {
        let pair = Pair::new();
        pair.add_client_address("10.77.0.66");
        pair.add_client_address("10.77.0.67");
        let machine = machine(&pair);
        install(&machine);
        let scene = Self { machine, pair };
        assert_eq!(scene.state("is-enabled"), "enabled");
        assert_eq!(scene.state("is-active"), "inactive", "the sample was started");
        scene.configure(&["10.77.0.66"]);
        scene.machine.write(OVERRIDE, "[Service]\nWatchdogSec=3s\nRestartSec=100ms\n");
        scene.systemctl("daemon-reload");
        scene.systemctl("start mxdp");
        scene
    }

    fn configure(&self, blocked: &[&str]) {
        let text = format!(
            "[filter]\ninterfaces = [\"e0\"]\nmode = \"native\"\n[reload]\nwatch = false\n\
             [blocked]\naddresses = {blocked:?}\n\
             [listen]\nsmtp = [\"10.77.0.1:25\"]\nhostname = \"mx.example.org\"\n\
             [[domain]]\nnames = [\"example.org\"]\nbackend = \"none\"\n\
             [[backend]]\nname = \"none\"\nservers = [\"10.77.0.1:2525\"]\n"
        );
        self.machine.write("/etc/mxdp/mxdp.toml", text);
    }

    fn systemctl(&self, words: &str) {
        let words: Vec<_> = ["systemctl"].into_iter().chain(words.split(' ')).collect();
        self.machine.run(&words);
    }

    fn state(&self, verb: &str) -> String {
        let output = self.machine.output(&["systemctl", verb, "mxdp"]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn main_pid(&self) -> String {
        self.machine.show("mxdp", "MainPID")
    }

    fn summary(&self) -> String {
        self.machine.show("mxdp", "StatusText")
    }

    fn connect(&self, source: &str, patience: Duration) -> io::Result<String> {
        let source: IpAddr = source.parse().expect("an address");
        let target: SocketAddr = "10.77.0.1:25".parse().expect("an address");
        self.pair.client.run(|| {
            let mut socket = connect(source, target, patience)?;
            let mut code = [0; 3];
            socket.read_exact(&mut code)?;
            Ok(String::from_utf8_lossy(&code).into_owned())
        })
    }

    /// Whether the SYN ends in the kernel.
    fn is_dropped(&self, source: &str) -> bool {
        let kind = |result: io::Result<String>| result.map_err(|error| error.kind());
        kind(self.connect(source, SHORT)) == Err(io::ErrorKind::TimedOut)
    }

    fn assert_serves(&self, when: &str) {
        assert!(self.is_dropped("10.77.0.66"), "the blocked address is admitted {when}");
        let greeting = self.connect("10.77.0.2", LONG);
        let greeting = greeting.unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_eq!(greeting, "220", "{when}");
    }

    fn program(&self) -> Option<u64> {
        let mut ip = self.pair.edge.command(peers::ip());
        let output = ip.args(["-json", "link", "show", "dev", "e0"]).output().expect("ip(8)");
        let links: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        links[0]["xdp"]["prog"]["id"].as_u64()
    }
}

#[test]
fn the_unit_starts_reloads_restarts_and_is_watched() {
    let scene = Scene::new();
    assert_eq!(scene.summary(), "Filtering on e0: generation 1, 1 prefixes");
    scene.assert_serves("at first");
    assert!(!scene.is_dropped("10.77.0.67"), "dropped before it is listed");
    restrictions(&scene);

    let first = scene.main_pid();
    scene.configure(&["10.77.0.66", "10.77.0.67"]);
    scene.systemctl("reload mxdp");
    assert!(scene.summary().starts_with("Filtering on e0: generation 2, 2"), "{}", scene.summary());
    assert!(scene.is_dropped("10.77.0.67"), "the reload did nothing");
    scene.configure(&["nonsense"]);
    assert!(!scene.machine.output(&["systemctl", "reload", "mxdp"]).status.success());
    assert!(scene.summary().ends_with("the last reload failed"), "{}", scene.summary());
    assert_eq!((scene.state("is-active").as_str(), scene.main_pid()), ("active", first.clone()));
    scene.configure(&["10.77.0.66"]);

    scene.systemctl("restart mxdp");
    // It took the maps over: it goes on counting.
    assert!(scene.summary().starts_with("Filtering on e0: generation 3, 1"), "{}", scene.summary());
    assert_ne!(scene.main_pid(), first);
    scene.assert_serves("after the restart");
    let hung = scene.main_pid();
    scene.systemctl("kill --signal=STOP mxdp");
    assert!(scene.is_dropped("10.77.0.66"), "without its daemon the filter filters nothing");
    wait_for("a daemon in place of the one that hangs", || {
        scene.main_pid() != hung && scene.state("is-active") == "active"
    });
    assert_eq!(scene.machine.show("mxdp", "NRestarts"), "1");
    assert!(scene.machine.journal().contains("Watchdog timeout"), "{}", scene.machine.journal());
    scene.assert_serves("after the watchdog's restart");

    scene.systemctl("stop mxdp");
    assert!(scene.program().is_some(), "the filter left with its daemon");
    assert!(scene.is_dropped("10.77.0.66"));
    scene.machine.run(&["mxdp", "detach"]);
    assert_eq!(scene.program(), None);
}

/// The daemon's capabilities and writable paths, as the kernel reports them.
fn restrictions(scene: &Scene) {
    let pid = scene.main_pid();
    let status = scene.machine.run(&["cat", &format!("/proc/{pid}/status")]);
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}: {status}")).trim().to_owned()
    };
    // CAP_NET_BIND_SERVICE, NET_ADMIN, SYS_ADMIN, PERFMON and BPF.
    for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(field(set), "000000c000201400", "{set}");
    }
    for set in ["CapInh:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".into(), "2".into()));
    let mounts = scene.machine.run(&["cat", &format!("/proc/{pid}/mountinfo")]);
    let is_writable = |place: &str| {
        let mut lines = mounts.lines().rev().map(|line| line.split(' ').collect::<Vec<_>>());
        let found = lines.find(|fields| fields[4] == place);
        found.unwrap_or_else(|| panic!("{place}: {mounts}"))[5].starts_with("rw")
    };
    for (place, expected) in [
        ("/", false),
        ("/sys", false),
        ("/sys/fs/bpf", false),
        ("/sys/fs/bpf/mxdp", true),
        ("/run/mxdp", true),
        ("/var/lib/mxdp", true),
    ] {
        assert_eq!(is_writable(place), expected, "{place}: {mounts}");
    }
}

#[test]
fn the_socket_keeps_the_port_open_while_daemons_change() {
    let scene = Scene::new();
    let listen = |addresses: &str| {
        let text = format!("[Socket]\nListenStream=\n{addresses}");
        scene.machine.write("/etc/systemd/system/mxdp.socket.d/test.conf", text);
        scene.systemctl("daemon-reload");
        scene.systemctl("stop mxdp");
        scene.systemctl("restart mxdp.socket");
    };
    listen("ListenStream=10.77.0.1:25\n");
    scene.systemctl("start mxdp");
    scene.assert_serves("by the socket");
    let done = AtomicBool::new(false);
    let greeted = thread::scope(|scope| {
        let knocking = scope.spawn(|| {
            let mut greeted = 0;
            while !done.load(Ordering::Relaxed) {
                // While no daemon runs it waits for the next one.
                let greeting = scene.connect("10.77.0.2", LONG);
                // A daemon that ends tells the clients that it has accepted.
                assert!(matches!(greeting.as_deref(), Ok("220" | "421")), "{greeting:?}");
                greeted += 1;
            }
            greeted
        });
        for _ in 0..3 {
            scene.systemctl("restart mxdp");
        }
        done.store(true, Ordering::Relaxed);
        knocking.join().expect("nobody is turned away")
    });
    assert!(greeted > 0);

    listen("ListenStream=10.77.0.1:25\nListenStream=10.77.0.1:26\n");
    assert!(!scene.machine.output(&["systemctl", "start", "mxdp"]).status.success());
    let journal = scene.machine.journal();
    assert!(journal.contains("listens on 10.77.0.1:26 (mxdp.socket)"), "{journal}");
}

#[test]
fn an_upgrade_keeps_the_filter_and_a_removal_takes_it_off() {
    let scene = Scene::new();
    let first = scene.main_pid();
    install(&scene.machine);
    assert_ne!(scene.main_pid(), first, "the upgrade left the old daemon");
    // The maps went on: no moment without the filter.
    assert!(scene.summary().starts_with("Filtering on e0: generation 2"), "{}", scene.summary());
    scene.assert_serves("after the upgrade");
    scene.systemctl("stop mxdp");
    install(&scene.machine);
    assert_eq!(scene.state("is-active"), "inactive", "an upgrade started what was stopped");
    scene.systemctl("start mxdp");

    scene.machine.run(&["dpkg", "--remove", "--no-triggers", "mxdp"]);
    assert_eq!(scene.program(), None, "the filter stays without anything to remove it");
    assert!(!scene.machine.path("/sys/fs/bpf/mxdp").exists());
    assert!(scene.machine.path("/etc/mxdp/mxdp.toml").exists());
    assert!(scene.machine.path("/var/lib/mxdp/record").exists());
    scene.machine.run(&["dpkg", "--purge", "--no-triggers", "mxdp"]);
    for path in
        ["/etc/mxdp", "/var/lib/mxdp", "/etc/systemd/system/multi-user.target.wants/mxdp.service"]
    {
        assert!(!scene.machine.path(path).exists(), "{path} is left");
    }
}
