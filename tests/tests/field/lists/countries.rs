//! Country data: a folder's files, and countries without any.

use super::{Scene, warnings};

/// Kind: a folder's files are known by their whole names, and what is passed over is said
/// (FireHOL's country_de.netset, ipdeny, ipverse).
#[test]
fn files_of_a_country_folder_are_known_by_their_whole_names() {
    let files = [
        ("geo/ipv4/de.cidr", "192.0.2.0/24\n"),
        ("geo/country_fr.netset", "198.51.100.0/24\n"),
        ("geo/nz.zone", "203.0.113.0/24\n"),
        ("geo/my-notes.txt", "what to do\n"),
        ("geo/continent_eu.netset", "192.0.2.0/24\n"),
        ("geo/README", "x\n"),
        ("geo/old_country_nz.netset", "10.0.0.0/8\n"),
        ("geo/sub/deep/de.cidr", "10.0.0.0/8\n"),
    ];
    let rest = "[blocked]\ncountries = [\"DE\", \"FR\", \"NZ\"]\n[countries]\nfolder = \"geo\"";
    let scene = Scene::new(rest, &files);
    let said = scene.is_good();
    for name in
        ["my-notes.txt", "continent_eu.netset", "README", "old_country_nz.netset", "sub/deep/"]
    {
        assert!(said.contains(name), "{name}: {said}");
    }
    for address in ["192.0.2.1", "198.51.100.1", "203.0.113.1"] {
        assert_eq!(scene.class_of_files(address), "blocked_country", "{address}");
    }
}

/// Kind: protection that is configured and has no data is said to be none.
#[test]
fn a_listed_country_without_data_is_a_warning_and_an_alarm() {
    let rest = "[blocked]\ncountries = [\"CN\"]\n[approved]\ncountries = [\"NZ\"]\n\
                [countries]\nfolder = \"geo\"";
    let files = [("geo/kp.cidr", "192.0.2.0/24\n"), ("geo/nz.cidr", "# none\n")];
    let scene = Scene::new(rest, &files);
    let said = scene.is_good();
    for what in ["blocked.countries: CN has no network", "approved.countries: NZ has no network"] {
        assert!(said.contains(what), "{said}");
    }
    let _daemon = scene.home.start(&scene.namespace);
    scene.alarm(&["blocked.countries: CN has no network in", &scene.file("geo")]);
    scene.alarm(&["approved.countries: NZ has no network"]);
    assert!(warnings(&scene.home.json(&["status"])).contains("CN has no network"));
    scene.write("geo/cn.cidr", "198.51.100.0/24\n");
    scene.write("geo/nz.cidr", "203.0.113.0/24\n");
    scene.reloads(&[]);
    scene.no_alarm();
    assert_eq!(scene.class("198.51.100.1"), "blocked_country");
}

/// Kind: country data that is gone or has lost a listed country keeps what it last said,
/// and an address without data is never blocked for having none.
#[test]
fn a_country_folder_keeps_its_last_good_content() {
    let rest =
        "[blocked]\ncountries = [\"CN\"]\n[countries]\nfolder = \"geo\"\nunknown = \"block\"";
    let files = [
        ("geo/cn.cidr", "198.51.100.0/24\n"),
        ("geo/de.cidr", "192.0.2.0/24\n203.0.113.0/24\n10.0.0.0/8\n"),
    ];
    let scene = Scene::new(rest, &files);
    {
        let _daemon = scene.home.start(&scene.namespace);
        scene.no_alarm();
        assert_eq!(scene.class("198.51.100.1"), "blocked_country");
        assert_eq!(scene.class("8.8.8.8"), "blocked_country");
        // A file that came empty is not half of the folder, and all of its country.
        scene.write("geo/cn.cidr", "");
        scene.reloads(&[]);
        scene.alarm(&["geo: has 0 entries of CN, and had 1", "less than an hour old"]);
        assert_eq!(scene.class("198.51.100.1"), "blocked_country");
        scene.write("geo/cn.cidr", "<html>");
        scene.reloads(&[]);
        scene.alarm(&["geo/cn.cidr:1: the file is an HTML or XML page"]);
        assert_eq!(scene.class("198.51.100.1"), "blocked_country");
    }
    // At a start as well.
    std::fs::remove_dir_all(scene.home.path("geo")).expect("removed");
    {
        let _daemon = scene.home.start(&scene.namespace);
        scene.alarm(&["geo: ", "with 4 entries is used"]);
        assert_eq!(scene.class("198.51.100.1"), "blocked_country");
        assert_eq!(scene.class("192.0.2.1"), "none");
    }
    // Without any data, nobody is blocked for having no country.
    std::fs::remove_dir_all(scene.home.path("state/last-good")).expect("removed");
    let _daemon = scene.home.start(&scene.namespace);
    scene.alarm(&["geo: ", "no address has a country"]);
    assert_eq!(scene.class("8.8.8.8"), "none");
}

/// Kind: addresses that can have no country are blocked for having none, and with them
/// whoever is before and behind the filter.
#[test]
fn private_addresses_are_not_of_an_unknown_country() {
    let rest = "[countries]\nfolder = \"geo\"\nunknown = \"block\"";
    let scene = Scene::new(rest, &[("geo/de.cidr", "5.0.0.0/16\n10.9.0.0/16\n")]);
    let said = scene.is_good();
    assert!(!said.contains("countries.unknown"), "{said}");
    let _daemon = scene.home.start(&scene.namespace);
    for address in ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.0.1", "::1", "fe80::1"] {
        assert_eq!(scene.class(address), "none", "{address}");
    }
    for address in ["8.8.8.8", "2a00::1", "2002:808:808::1", "172.32.0.1"] {
        assert_eq!(scene.class(address), "blocked_country", "{address}");
    }
    assert_eq!(scene.class("2002:a01:203::1"), "none");
    assert_eq!(scene.class("5.0.0.1"), "none");
}

/// Kind: a blocked country, or that addresses without one are, shuts out whom mail needs.
#[test]
fn countries_that_block_what_belongs_to_this_host_are_named() {
    let mail = |countries: &str| {
        format!(
            "{countries}\nfolder = \"geo\"\n[listen]\nsmtp = [\"127.0.0.1:25\"]\n\
             proxy_networks = [\"10.9.0.0/24\", \"5.0.1.0/24\"]\n\
             [[domain]]\nnames = [\"example.org\"]\nbackend = \"main\"\n\
             [[backend]]\nname = \"main\"\nservers = [\"6.0.0.25:25\"]"
        )
    };
    let files = [("geo/de.cidr", "5.0.0.0/16\n")];
    let scene = Scene::new(&mail("[blocked]\ncountries = [\"DE\"]\n[countries]"), &files);
    let said = scene.is_good();
    let hit = "blocked.countries: DE blocks 5.0.1.0/24, listed in listen.proxy_networks";
    assert!(said.contains(hit) && said.contains("de.cidr:1"), "{said}");
    scene.configure(&mail("[countries]\nunknown = \"block\""));
    let said = scene.is_good();
    let hit = "countries.unknown: \"block\" blocks 6.0.0.25/32, a server of backend main";
    assert!(said.contains(hit), "{said}");
    assert!(!said.contains("10.9.0.0") && !said.contains("127.0.0"), "{said}");
}

/// Kind: a country file that holds far more than a country blocks or approves everybody.
#[test]
fn a_country_file_that_is_too_wide_needs_force() {
    let rest = |more: &str| format!("{more}\n[countries]\nfolder = \"geo\"");
    let blocked = rest("[blocked]\ncountries = [\"DE\"]");
    for (net, what) in [
        ("0.0.0.0/0", "0.0.0.0/0 would block every address"),
        ("64.0.0.0/7", "64.0.0.0/7 would block a very large part"),
        ("2a00::/15", "would block a very large part"),
    ] {
        let text = format!("5.0.0.0/16\n{net}\n");
        let scene = Scene::new(&blocked, &[("geo/de.cidr", &text)]);
        scene.is_bad("geo/de.cidr:2: ");
        scene.is_bad(what);
        scene.configure(&rest("[blocked]\ncountries = [\"DE\"]\nforce = true"));
        scene.is_good();
        scene.configure(&rest("[blocked]\ncountries = [\"FR\"]"));
        scene.is_good();
        scene.configure(&rest("[approved]\ncountries = [\"DE\"]"));
        let said = scene.is_good();
        assert!(said.contains(&format!("geo/de.cidr:2: {} approves", &net)), "{said}");
    }
    // A running daemon keeps what it had.
    let scene = Scene::new(&blocked, &[("geo/de.cidr", "5.0.0.0/16\n")]);
    let _daemon = scene.home.start(&scene.namespace);
    scene.write("geo/de.cidr", "5.0.0.0/16\n0.0.0.0/0\n");
    scene.reloads(&[]);
    scene.alarm(&["geo/de.cidr:2: 0.0.0.0/0 would block every address", "is used"]);
    assert_eq!(scene.class("8.8.8.8"), "none");
    assert_eq!(scene.class("5.0.0.1"), "blocked_country");
}
