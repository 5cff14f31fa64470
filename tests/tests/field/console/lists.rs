//! Long lists on the console and by the API.

use std::collections::BTreeSet;

use mxdp_tests::daemon::Home;
use mxdp_tests::http::Http;
use mxdp_tests::netns::Namespace;
use serde_json::{Value, json};

const SITE: &str = "http://127.0.0.1:8025";

/// The networks of an answer.
fn prefixes(entries: &Value) -> Vec<String> {
    let entries = entries.as_array().expect("entries").iter();
    entries.map(|entry| entry["prefix"].as_str().expect("a prefix").to_owned()).collect()
}

/// Kind: an answer that grows with what is kept. Ninety thousand managed entries were a page
/// of 34 MB; a part of them is a page, and all can be found from it.
#[test]
fn many_managed_entries_are_shown_in_parts_and_can_be_searched() {
    const ENTRIES: u32 = 5_000;
    let (namespace, home) = (Namespace::new("mxw"), Home::new());
    home.configure("interfaces = [\"lo\"]\nmode = \"generic\"", "[web]\nloopback = \"write\"\n");
    let entry = |number: u32| {
        let address = std::net::Ipv4Addr::from(0xc612_0000 + number);
        let note = if number == 4_321 { "Ticket 4711" } else { "by script" };
        json!({"list": "blocked", "prefix": format!("{address}/32"), "note": note, "added_at": 1})
    };
    let entries: Vec<_> = (0..ENTRIES).map(entry).collect();
    std::fs::create_dir(home.path("state")).expect("a folder");
    home.write("state/runtime.json", json!({"version": 1, "entries": entries}).to_string());
    let _daemon = home.start(&namespace);
    let http = Http::new(&namespace, SITE, None);

    let page = http.get("/lists");
    assert!(page.body.len() < 100_000, "{} bytes", page.body.len());
    assert!(page.body.contains("198.18.0.0/32") && page.body.contains("5,000"), "{}", page.body);
    let next =
        page.body.split("rel=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next());
    let page = http.get(&next.expect("a link to the next part").replace("&amp;", "&"));
    assert!(page.body.contains("198.18.0.50/32") && !page.body.contains("198.18.0.0/32"));
    for search in ["ticket", "198.18.16.225", "198.18.16.224/30"] {
        let page = http.get(&format!("/lists?q={}", search.replace('/', "%2F")));
        assert!(page.body.contains("198.18.16.225/32"), "{search}");
        assert!(!page.body.contains("198.18.0.0/32"), "{search}");
    }

    // The API gives all of them, a part at a time.
    let mut found = BTreeSet::new();
    let mut path = "/api/v1/entries/blocked".to_owned();
    for parts in 1.. {
        let answer = http.get(&path);
        assert_eq!(answer.header("x-total-count"), ENTRIES.to_string());
        let part = prefixes(&answer.json());
        assert!(part.len() <= 1_000 && parts <= 5, "{} in part {parts}", part.len());
        found.extend(part);
        let link = answer.header("link");
        let Some(next) = link.strip_prefix('<').and_then(|link| link.split('>').next()) else {
            break;
        };
        path = next.to_owned();
    }
    assert_eq!(found.len(), ENTRIES as usize);
    let answer = http.get("/api/v1/entries/blocked?search=4711");
    assert_eq!(prefixes(&answer.json()), ["198.18.16.225/32"]);

    // Temporary blocks as well.
    for last in 1..=3 {
        let block = json!({"address": format!("203.0.113.{last}"), "seconds": 600});
        assert_eq!(http.post("/api/v1/temporary", &block).status, 200);
    }
    let answer = http.get("/api/v1/temporary?limit=2");
    assert_eq!(prefixes(&answer.json()), ["203.0.113.1/32", "203.0.113.2/32"]);
    assert!(answer.header("link").contains("after=203.0.113.2%2F32"), "{}", answer.header("link"));
    let answer = http.get("/api/v1/temporary?search=203.0.113.3");
    assert_eq!(prefixes(&answer.json()), ["203.0.113.3/32"]);
}
