//! What becomes of a source that fails: its last good content is used, everything else is
//! loaded, and an alarm says so.

use std::fs;

use mxdp_tests::daemon::wait_for;
use mxdp_tests::files::files_below;
use mxdp_tests::mmdb::Mmdb;

use super::Scene;

const FEED: &str = "[blocked]\nfiles = [\"own\"]\n[known_spam_sources]\n\
                    files = [{ path = \"feed\", on_bad_line = \"skip\" }]";

const TEN: &str = "192.0.2.0\n192.0.2.1\n192.0.2.2\n192.0.2.3\n192.0.2.4\n192.0.2.5\n192.0.2.6\n\
                   192.0.2.7\n192.0.2.8\n192.0.2.9\n";

/// Kind: a feed that came empty, as an error page or in another encoding takes its
/// protection away (advanced-policy-firewall#40, Mikrotik-Blacklist#26).
#[test]
fn a_feed_that_lost_most_of_its_entries_keeps_its_last_good_content() {
    let scene = Scene::new(FEED, &[("feed", TEN), ("own", "198.51.100.1\n")]);
    let _daemon = scene.home.start(&scene.namespace);
    let utf16: Vec<u8> = TEN.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: [(&[u8], &str); 7] = [
        (b"", "feed: has 0 entries, and had 10"),
        (b"# nothing today\n", "feed: has 0 entries, and had 10"),
        (b"203.0.113.1\n203.0.113.2\n203.0.113.3\n203.0.113.4\n", "has 4 entries, and had 10"),
        (b"<!DOCTYPE html>\n<h1>503</h1>\n", "feed:1: the file is an HTML or XML page"),
        (b"Too many requests\n", "feed:1: "),
        (&utf16, "feed:1: the file is UTF-16 text"),
        (b"\x1f\x8b\x08\0\0", "feed:1: the file is compressed with gzip"),
    ];
    for (number, (bytes, what)) in (1..).zip(cases) {
        scene.write("feed", bytes);
        scene.write("own", format!("198.51.100.1\n198.51.100.10{number}\n"));
        let said = scene.reloads(&[]);
        assert!(said.contains(what), "{said}");
        let alarm = scene.alarm(&[what, "with 10 entries is used", "less than an hour old"]);
        assert!(alarm.contains(&scene.file("feed")), "{alarm}");
        assert_eq!(scene.class("192.0.2.9"), "known_spam_source", "{what}");
        assert_eq!(scene.class("203.0.113.1"), "none", "{what}");
        assert_eq!(scene.class(&format!("198.51.100.10{number}")), "blocked_ip", "{what}");
    }
    // Half is left, which is not more than half lost.
    scene.write("feed", &TEN[..50]);
    scene.reloads(&[]);
    scene.no_alarm();
    assert_eq!(scene.class("192.0.2.9"), "none");
    assert_eq!(scene.class("192.0.2.4"), "known_spam_source");
}

/// Kind: a list that an operator shortened on purpose; what was accepted stays so.
#[test]
fn a_shortened_list_can_be_accepted_and_stays_accepted() {
    let scene = Scene::new(FEED, &[("feed", TEN), ("own", "198.51.100.1\n")]);
    let own = scene.file("own");
    {
        let _daemon = scene.home.start(&scene.namespace);
        scene.write("own", "");
        let said = scene.reloads(&[]);
        assert!(said.contains(&format!("mxdp reload --accept {own}")), "{said}");
        assert_eq!(scene.class("198.51.100.1"), "blocked_ip");
        // Another file is not meant.
        scene.reloads(&["--accept", &scene.file("feed")]);
        assert_eq!(scene.class("198.51.100.1"), "blocked_ip");
        let output = scene.reload(&["--accept", &scene.file("fed")]);
        assert!(!output.status.success(), "a name that no list has was accepted");
        scene.reloads(&["--accept", &own]);
        assert_eq!(scene.class("198.51.100.1"), "none");
        scene.no_alarm();
        scene.reloads(&[]);
        assert_eq!(scene.class("198.51.100.1"), "none");
        wait_for("the trace of it", || {
            let audit = scene.home.json_lines(&["audit"]);
            audit.iter().any(|row| row.to_string().contains("accepting"))
        });
    }
    let _daemon = scene.home.start(&scene.namespace);
    assert_eq!(scene.class("198.51.100.1"), "none");
    assert_eq!(scene.class("192.0.2.1"), "known_spam_source");
    // A key permits the same for a feed that comes and goes.
    scene.configure(&FEED.replace("on_bad_line = \"skip\"", "may_shrink = true"));
    scene.write("feed", "");
    scene.reloads(&[]);
    scene.no_alarm();
    assert_eq!(scene.class("192.0.2.1"), "none");
}

/// Kind: one bad line of somebody's list holds back all the others, and the next start
/// (a feed's maintenance page at night).
#[test]
fn the_fault_of_a_list_stays_with_it_at_a_start_too() {
    let rest = "[approved]\nfiles = [\"friends\"]\n[blocked]\nfiles = [\"own\", \"other\"]\n\
                countries = [\"FR\"]\n[countries]\ndatabase = \"db\"";
    let files = [("friends", "192.0.2.1\n"), ("own", "192.0.2.2\n"), ("other", "192.0.2.3\n")];
    let scene = Scene::new(rest, &files);
    scene.write("db", Mmdb::sample().bytes());
    let assert_all = |when: &str| {
        for (address, class) in [
            ("192.0.2.1", "approved_ip"),
            ("192.0.2.2", "blocked_ip"),
            ("192.0.2.3", "blocked_ip"),
            ("198.51.100.200", "blocked_country"),
        ] {
            assert_eq!(scene.class(address), class, "{address} {when}");
        }
    };
    {
        let _daemon = scene.home.start(&scene.namespace);
        assert_all("at first");
        scene.write("own", "192.0.2.2\n198.51\n");
        scene.write("db", "no database");
        fs::remove_file(scene.home.path("friends")).expect("removed");
        scene.write("other", "192.0.2.3\n203.0.113.3\n");
        scene.reloads(&[]);
        scene.alarm(&["own:2: `198.51`: is not", "with 1 entries is used"]);
        scene.alarm(&["db: is not a usable country database", "is used"]);
        scene.alarm(&["friends: cannot be read", "(approved.files at", "is used"]);
        assert_all("after a reload");
        assert_eq!(scene.class("203.0.113.3"), "blocked_ip");
    }
    let daemon = scene.home.start(&scene.namespace);
    scene.alarm(&["own:2: `198.51`: is not", "is used"]);
    scene.alarm(&["friends: cannot be read", "is used"]);
    assert_all("after a start");
    assert_eq!(scene.class("203.0.113.3"), "blocked_ip");
    // A corrected file is loaded, and the alarm ends.
    scene.write("own", "192.0.2.2\n203.0.113.4\n");
    scene.write("db", Mmdb::sample().bytes());
    scene.write("friends", "192.0.2.1\n");
    scene.reloads(&[]);
    scene.no_alarm();
    assert_eq!(scene.class("203.0.113.4"), "blocked_ip");
    drop(daemon);
}

/// Kind: a start without anything to fall back on: the list is missing, not the service.
#[test]
fn a_first_start_goes_on_without_a_list_that_is_bad_or_missing() {
    let rest = "[blocked]\nfiles = [\"bad\", \"missing\", \"good\"]";
    let scene = Scene::new(rest, &[("bad", "192.0.2.1\nx\n"), ("good", "192.0.2.3\n")]);
    let _daemon = scene.home.start(&scene.namespace);
    let nothing = "nothing of it is blocked";
    scene.alarm(&["bad:2: `x`: is not", "there is no last good content", nothing]);
    scene.alarm(&["missing: cannot be read: No such file", "(blocked.files at", nothing]);
    assert_eq!(scene.class("192.0.2.1"), "none");
    assert_eq!(scene.class("192.0.2.3"), "blocked_ip");
    scene.write("missing", "192.0.2.2\n");
    scene.reloads(&[]);
    assert_eq!(scene.class("192.0.2.2"), "blocked_ip");
    // `check` says of it what it always said.
    scene.is_bad("bad:2: `x`: is not");
}

/// Kind: what is kept for emergencies must not be believed when it is damaged, nor grow
/// without end, nor outlive its source.
#[test]
fn a_damaged_copy_is_not_used_and_copies_go_with_their_sources() {
    let rest = "[blocked]\nfiles = [\"own\", \"other\"]";
    let scene = Scene::new(rest, &[("own", TEN), ("other", "198.51.100.1\n")]);
    let copies = || files_below(&scene.home.path("state/last-good"));
    {
        let _daemon = scene.home.start(&scene.namespace);
        assert_eq!(copies().len(), 2);
        scene.configure("[blocked]\nfiles = [\"own\"]");
        scene.reloads(&[]);
        assert_eq!(copies().len(), 1);
    }
    let copy = copies().pop().expect("a copy");
    let text = fs::read_to_string(&copy).expect("read");
    fs::write(&copy, text.replace("192.0.2.7", "192.0.3.7")).expect("written");
    fs::remove_file(scene.home.path("own")).expect("removed");
    let _daemon = scene.home.start(&scene.namespace);
    scene.alarm(&["own: cannot be read", "is damaged and not used", "nothing of it is blocked"]);
    assert_eq!(scene.class("192.0.3.7"), "none");
    scene.write("own", TEN);
    scene.reloads(&[]);
    scene.no_alarm();
    assert_eq!(scene.class("192.0.2.7"), "blocked_ip");
    assert!(fs::read_to_string(&copy).expect("read").contains("192.0.2.7"));
}

/// Kind: without a folder for copies, the active content stays active.
#[test]
fn a_state_folder_that_cannot_be_written_costs_no_list() {
    let scene = Scene::new("[blocked]\nfiles = [\"own\"]", &[("own", TEN)]);
    fs::create_dir(scene.home.path("state")).expect("a folder");
    scene.write("state/last-good", "a file where the folder should be");
    let _daemon = scene.home.start(&scene.namespace);
    scene.alarm(&["the last good content of", "cannot be kept"]);
    assert_eq!(scene.class("192.0.2.7"), "blocked_ip");
    scene.write("own", "192.0.2.7\nx\n");
    let output = scene.reload(&[]);
    assert!(!output.status.success());
    assert_eq!(scene.class("192.0.2.6"), "blocked_ip");
}
