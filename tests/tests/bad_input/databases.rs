//! Country databases.

use std::fs;
use std::time::{Duration, Instant};

use mxdp::lists::{Countries, CountryLimits};
use mxdp_tests::daemon::Home;
use mxdp_tests::mmdb::{Mmdb, Record, map, pointer, text};

use crate::{LOOPBACK, check, config_of, fifo};

const LIMITS: CountryLimits = CountryLimits { networks: 1_000_000 };

/// Reads a database and fails when that takes long.
fn read(bytes: Vec<u8>) -> Result<Countries, String> {
    let start = Instant::now();
    let result = Countries::from_mmdb("db", bytes, true, &LIMITS);
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    result.map_err(|error| error.to_string())
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
