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
    ];
    let rest = "[blocked]\ncountries = [\"DE\", \"FR\", \"NZ\"]\n[countries]\nfolder = \"geo\"";
    let scene = Scene::new(rest, &files);
    let said = scene.is_good();
    for name in ["my-notes.txt", "continent_eu.netset", "README"] {
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
    // Without any data nobody is blocked for being of no country.
    std::fs::remove_dir_all(scene.home.path("state/last-good")).expect("removed");
    let _daemon = scene.home.start(&scene.namespace);
    scene.alarm(&["geo: ", "no address has a country"]);
    assert_eq!(scene.class("8.8.8.8"), "none");
}
