//! Reloading: invalid input changes nothing.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use mxdp_tests::daemon::{Home, wait_for};
use mxdp_tests::mmdb::Mmdb;
use mxdp_tests::netns::Namespace;
use serde_json::Value;

use crate::{LOOPBACK, Outcome, SOON, fifo, finish};

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

    /// Valid content.
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

/// The damaged file, the message about it, and the damage.
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
    // A source that fails keeps its last good content, and everything else is loaded.
    let sources: Vec<Damage<'_>> = vec![
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
    ];
    let mut generation = 1;
    for (what, words, damage) in &sources {
        damage();
        let outcome = scene.reload();
        assert_eq!(outcome.code, Some(0), "{what}: {}", outcome.text);
        outcome.says(words);
        generation += 1;
        scene.assert_good(generation);
        wait_for("the alarm", || {
            let alarms = scene.status()["alarms"].to_string();
            alarms.contains(words) && alarms.contains("its last good content")
        });
        scene.restore(false, "");
        let outcome = scene.reload();
        assert_eq!(outcome.code, Some(0), "{what}: {}", outcome.text);
        generation += 1;
        scene.assert_good(generation);
        wait_for("the end of the alarm", || scene.status()["alarms"] == serde_json::json!([]));
    }
    let cases: Vec<Damage<'_>> = vec![
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
    let alarms = || scene.status()["alarms"].to_string();
    let list = scene.home.path("list");
    fs::remove_file(&list).expect("removed");
    wait_for("the alarm", || alarms().contains(&list.display().to_string()));
    assert_eq!(scene.class("192.0.2.9"), "blocked_ip");
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
    wait_for("the alarm", || alarms().contains(&scene.home.path("late").display().to_string()));
    scene.home.write("late", "203.0.113.9\n");
    wait_for("the late list", || scene.class("203.0.113.9") == "known_spam_source");

    // A folder that is replaced by another, and a link that is switched.
    let is_blocked = |address: &str| scene.class(address) == "blocked_ip";
    let folder = |name: &str, list: &str| {
        fs::create_dir(scene.home.path(name)).expect("a folder");
        scene.home.write(&format!("{name}/a"), list);
    };
    let rename = |from: &str, to: &str| {
        fs::rename(scene.home.path(from), scene.home.path(to)).expect("renamed");
    };
    folder("here", "203.0.113.20\n");
    folder("there", "203.0.113.21\n");
    symlink("there", scene.home.path("link")).expect("a link");
    let text = fs::read_to_string(scene.home.path("mxdp.toml")).expect("read");
    let more = text.replace("files = [\"list\"", "files = [\"here/a\", \"link/a\", \"list\"");
    scene.home.write("mxdp.toml", more);
    wait_for("both", || is_blocked("203.0.113.20") && is_blocked("203.0.113.21"));
    folder("next", "203.0.113.22\n");
    rename("here", "old");
    rename("next", "here");
    wait_for("the folder in its place", || is_blocked("203.0.113.22"));
    scene.home.write("here/a", "203.0.113.23\n");
    wait_for("a change in it", || is_blocked("203.0.113.23"));
    folder("elsewhere", "203.0.113.24\n");
    symlink("elsewhere", scene.home.path("new-link")).expect("a link");
    rename("new-link", "link");
    wait_for("what the link leads to now", || is_blocked("203.0.113.24"));
    scene.home.write("elsewhere/a", "203.0.113.25\n");
    wait_for("a change in that", || is_blocked("203.0.113.25"));
    assert_eq!(failed(), None);
}
