//! Verdicts: what becomes of an address or a message comes first, wherever it is shown.

use mxdp_tests::dialogue::is_dropped;
use mxdp_tests::http::Http;
use mxdp_tests::peers::clients::said;

use super::{SITE, host};

/// Kind: the result of one part of the system is shown as the verdict of the whole.
/// Source: `lookup --live` began with `pass` for an address that a temporary block drops.
#[test]
fn an_address_that_a_temporary_block_drops_is_shown_as_dropped_everywhere() {
    let (host, _sink) = host("");
    let _daemon = host.start();
    host.home.json(&["temp", "add", "192.0.2.7", "--for", "1h", "--force"]);
    let to = "127.0.0.1:25".parse().expect("an address and port");
    assert!(is_dropped(&host.namespace, "192.0.2.7".parse().expect("an address"), to));
    let text = said(&host.home.run(&["lookup", "--live", "192.0.2.7"]));
    let words: Vec<_> = text.split_whitespace().take(3).collect();
    assert_eq!(words, ["192.0.2.7", "drop", "temporary_block"], "{text}");
    let live = host.home.json(&["lookup", "--live", "192.0.2.7"]);
    let http = Http::new(&host.namespace, SITE, None);
    let api = http.get("/api/v1/lookup?ip=192.0.2.7").json()[0].clone();
    for answer in [live, api] {
        assert_eq!(answer["action"], "drop", "{answer}");
        assert_eq!(answer["class"], "temporary_block", "{answer}");
        assert_eq!(answer["prefix"], "192.0.2.7/32", "{answer}");
        assert_eq!(answer["agree"], true, "{answer}");
        assert_eq!(answer["temporary"]["reason"], "operator", "{answer}");
    }
    let page = http.get("/check?ip=192.0.2.7").body;
    assert!(page.contains("<b>dropped</b>"), "{page}");
    assert!(page.contains("<dt>Class</dt><dd>temporary_block</dd>"), "{page}");
    // If a list decides about an address, its verdict is shown.
    let listed = host.home.json(&["lookup", "--live", "192.0.2.66"]);
    assert_eq!((&listed["action"], &listed["class"]), (&"drop".into(), &"blocked_ip".into()));
    let free = host.home.json(&["lookup", "--live", "192.0.2.8"]);
    assert_eq!((&free["action"], &free["class"]), (&"pass".into(), &"none".into()));
}

/// Kind: an explanation shows what was never looked at, and promises what it cannot know.
/// Source: `explain` had findings and "passes" behind the stage that refused, and "would
/// be passed to the backend" for a message that was refused for its content.
#[test]
fn nothing_is_found_behind_the_stage_that_refuses() {
    let (host, _sink) = host("[senders]\nblocked = [\"*@spam.example\"]\n");
    let _daemon = host.start();
    let envelope =
        ["--ip", "192.0.2.7", "--from", "x@spam.example", "--rcpt", "bob@elsewhere.example"];
    let config = host.home.path("mxdp.toml").display().to_string();
    let from_files = host.home.json(&[&["explain", "-c", &config], &envelope[..]].concat());
    let live = host.home.json(&[&["explain", "--live"], &envelope[..]].concat());
    let http = Http::new(&host.namespace, SITE, None);
    let query = "ip=192.0.2.7&from=x%40spam.example&rcpt=bob%40elsewhere.example";
    let api = http.get(&format!("/api/v1/explain?{query}")).json();
    for explained in [from_files, live, api] {
        let stages = explained["stages"].as_array().expect("stages");
        let refusing = stages.iter().position(|stage| stage["reply"] != serde_json::Value::Null);
        let refusing = refusing.expect("a refusal");
        assert_eq!(explained["decided_by"], stages[refusing]["stage"]);
        assert!(refusing + 1 < stages.len());
        for stage in &stages[refusing + 1..] {
            assert_eq!(stage["reached"], false, "{stage}");
            assert_eq!(stage["passes"], false, "{stage}");
            assert_eq!(stage["note"], "", "{stage}");
            assert!(stage["reason"].is_null() && stage["reply"].is_null(), "{stage}");
        }
        assert!(stages[..=refusing].iter().all(|stage| stage["reached"] == true));
    }
    let text = said(&host.home.run(&[&["explain", "--live"], &envelope[..]].concat()));
    assert!(text.contains("not reached\n") || text.contains("not reached  \n"), "{text}");
    let page = http.get(&format!("/check?{query}")).body;
    assert!(page.contains("not reached") && page.contains("stopped by the stage"), "{page}");
    // A dropped SYN is the end of it.
    let dropped = host.home.json(&[
        "explain",
        "--live",
        "--ip",
        "192.0.2.66",
        "--from",
        "a@b.example",
        "--rcpt",
        "bob@example.org",
    ]);
    assert_eq!(dropped["decided_by"], "syn");
    let stages = dropped["stages"].as_array().expect("stages");
    assert!(stages[1..].iter().all(|stage| stage["reached"] == false), "{dropped}");
    // Only the envelope is known, and not the content.
    let good = ["--ip", "192.0.2.7", "--from", "a@b.example", "--rcpt", "bob@example.org"];
    let text = said(&host.home.run(&[&["explain", "--live"], &good[..]].concat()));
    assert!(text.contains("All checks of the envelope pass"), "{text}");
    let page = http.get("/check?ip=192.0.2.7&from=a%40b.example&rcpt=bob%40example.org").body;
    assert!(page.contains("The content is checked when the message arrives"), "{page}");
}
