//! Forms and parts of requests: a wrong value is 400, and never a default.

use mxdp_tests::http::{Answer, Http};
use serde_json::{Value, json};

use super::{SITE, host};

fn form(http: &Http<'_>, body: &str) -> Answer {
    let typed = http.with("content-type", "application/x-www-form-urlencoded");
    typed.ask("POST", "/act", Some(body)).unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn blocked(http: &Http<'_>) -> Vec<Value> {
    let entries = http.get("/api/v1/entries/blocked").json();
    entries.as_array().cloned().unwrap_or_default()
}

/// Kind: a form that edits an entry resets what it does not show.
/// Source: the console's Edit link made a timed block permanent.
#[test]
fn an_edited_note_leaves_the_time_of_an_entry_as_it_is() {
    let (host, _sink) = host("");
    let _daemon = host.start();
    let http = Http::new(&host.namespace, SITE, None);
    let entry = json!({ "prefix": "203.0.113.7", "expires_in_s": 7200, "note": "old" });
    let before = http.post("/api/v1/entries/blocked", &entry).json();
    let end = before["expires_at"].as_u64().expect("a time");
    // The form offers the time that is left, chosen.
    let page = http.get("/act?what=block&net=203.0.113.7%2F32&note=new");
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("value=\"unchanged\" selected"), "{}", page.body);
    let done = form(&http, "what=block&net=203.0.113.7%2F32&note=new&for=unchanged&back=%2Flists");
    assert_eq!(done.status, 303, "{}", done.body);
    let entries = blocked(&http);
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["note"], "new");
    let kept = entries[0]["expires_at"].as_u64().expect("still a time");
    assert!(kept.abs_diff(end) <= 60, "{kept} instead of {end}");
    // A permanent one stays permanent, and an entry that is gone has no time to keep.
    _ = http.post("/api/v1/entries/blocked", &json!({ "prefix": "203.0.113.8/32" }));
    let done = form(&http, "what=block&net=203.0.113.8&note=n&for=unchanged");
    assert_eq!(done.status, 303, "{}", done.body);
    let gone = form(&http, "what=block&net=203.0.113.9&for=unchanged");
    assert_eq!(gone.status, 400, "{}", gone.body);
    let permanent = blocked(&http).into_iter().find(|entry| entry["prefix"] == "203.0.113.8/32");
    assert_eq!(permanent.expect("the entry")["expires_at"], Value::Null);
}

/// Kind: an addition without a time makes a timed entry permanent.
/// Source: `mxdp block add X --for 1h`, and then a note alone.
#[test]
fn an_addition_without_a_time_leaves_the_end_as_it_is() {
    let (host, _sink) = host("");
    let _daemon = host.start();
    let http = Http::new(&host.namespace, SITE, None);
    let timed = json!({ "prefix": "203.0.113.7", "expires_in_s": 7200, "note": "a" });
    let end = http.post("/api/v1/entries/blocked", &timed).json()["expires_at"].as_u64();
    let end = end.expect("a time");
    let is_kept = |note: &str| {
        let entry = blocked(&http).remove(0);
        assert_eq!(entry["note"], note);
        let kept = entry["expires_at"].as_u64().expect("still a time");
        assert!(kept.abs_diff(end) <= 60, "{kept} instead of {end}");
    };
    _ = http.post("/api/v1/entries/blocked", &json!({ "prefix": "203.0.113.7", "note": "b" }));
    is_kept("b");
    assert_eq!(form(&http, "what=block&net=203.0.113.7&note=c").status, 303);
    is_kept("c");
    let said = host.home.run(&["block", "add", "203.0.113.7", "--note", "d"]);
    assert!(said.status.success(), "{said:?}");
    is_kept("d");
    // A permanent entry must be requested.
    for way in ["API", "form", "command"] {
        _ = http.post("/api/v1/entries/blocked", &timed);
        match way {
            "API" => {
                let permanent = json!({ "prefix": "203.0.113.7", "permanent": true });
                _ = http.post("/api/v1/entries/blocked", &permanent);
            }
            "form" => _ = form(&http, "what=block&net=203.0.113.7&for=0"),
            _ => _ = host.home.run(&["block", "add", "203.0.113.7", "--for", "never"]),
        }
        assert_eq!(blocked(&http).remove(0)["expires_at"], Value::Null, "{way}");
    }
}

/// Kind: the warning of an entry that has no effect is of one list only: an approval makes
/// blocks void as much as a block may be void.
#[test]
fn an_approval_says_which_blocks_it_makes_void() {
    let (host, _sink) = host("");
    let _daemon = host.start();
    let http = Http::new(&host.namespace, SITE, None);
    _ = http.post("/api/v1/entries/blocked", &json!({ "prefix": "203.0.113.7" }));
    let warning = "blocking 203.0.113.7/32 (runtime) has no effect: 203.0.113.0/24 (runtime) \
                   approves all of it";
    let page = http.get("/act?what=approve&net=203.0.113.0%2F24");
    assert!(page.body.contains(warning), "{}", page.body);
    let said = http.post("/api/v1/entries/approved", &json!({ "prefix": "203.0.113.0/24" })).json();
    assert!(said["warning"].as_str().is_some_and(|said| said.starts_with(warning)), "{said}");
    let said = host.home.run(&["approve", "add", "203.0.113.0/24"]);
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.contains(warning), "{said}");
    let said = host.home.run(&["approve", "add", "203.0.113.9"]);
    assert!(!String::from_utf8_lossy(&said.stderr).contains("no effect"), "{said:?}");
}

/// Kind: a value that cannot be read counts as if it were not there.
/// Source: `POST /act` with `for=1h` blocked permanently.
#[test]
fn a_value_that_cannot_be_meant_is_400_and_changes_nothing() {
    let (host, _sink) = host("");
    let _daemon = host.start();
    let http = Http::new(&host.namespace, SITE, None);
    for wrong in ["1x", "-5", "1.5h", "soon", "3600000000000", "%00", "0s", "100ms"] {
        let answer = form(&http, &format!("what=block&net=203.0.113.7&for={wrong}"));
        assert_eq!(answer.status, 400, "for={wrong}: {}", answer.body);
    }
    for wrong in [
        "what=ban&net=203.0.113.7",
        "what=block&net=203.0.113.300",
        "what=block&net=203.0.113.0/33",
        "what=block",
        "what=lift&net=203.0.113.0/24",
        "what=block&net=203.0.113.7&force=maybe",
        "what=block&net=203.0.113.7&lasts=3600",
        "what=block&net=203.0.113.7&for=3600&for=7200",
        "what=block&net=203.0.113.7&for=",
        "what=block&net=203.0.113.7&for=%20",
    ] {
        let answer = form(&http, wrong);
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.body);
    }
    assert_eq!(blocked(&http), Vec::<Value>::new());
    // Units are understood, here as everywhere.
    for (good, seconds) in [("1h", 3_600), ("90", 90), ("2h30m", 9_000), ("1%20day", 86_400)] {
        let answer = form(&http, &format!("what=block&net=203.0.113.7&for={good}"));
        assert_eq!(answer.status, 303, "for={good}: {}", answer.body);
        let entry = blocked(&http).remove(0);
        let left = entry["expires_at"].as_u64().zip(entry["added_at"].as_u64());
        assert_eq!(left.map(|(end, start)| end - start), Some(seconds), "for={good}");
    }
    for wrong in [
        "/api/v1/lookup?ip=192.0.2.300",
        "/api/v1/lookup?ip=192.0.2.1&live=true",
        "/api/v1/explain?ip=192.0.2.1&from=a@b.example&rcpt=bob@example.org&size=big",
        "/api/v1/explain?ip=192.0.2.1&from=a@b.example&rcpt=bob@example.org&tls=1.1",
        "/api/v1/explain?ip=192.0.2.1&from=a@b.example&rcpt=bob@example.org&relay=yes",
        "/api/v1/explain?ip=192.0.2.1&from=a+b@c.example&rcpt=bob@example.org",
        "/api/v1/explain?ip=192.0.2.1&from=&rcpt=bob@example.org&helo=a+b",
        "/api/v1/changes?limit=0",
        "/api/v1/status?verbose=1",
        "/api/v1/entries/blocked?prefix=192.0.2.0/24",
        "/api/v1/temporary?address=192.0.2.1",
        "/check?ip=192.0.2.300",
        "/check?ip=192.0.2.1&size=big",
        "/check?ip=192.0.2.1&rcpt=bob@example.org&tls=1.1",
        "/check?rcpt=bob@example.org",
        "/check?ip=192.0.2.1&recipient=bob@example.org",
        "/blocked?reason=because",
        "/blocked?colour=red",
        "/accepted?limit=0",
        "/?since=yesterday",
        "/?until=1h",
        "/lists?foo=1",
        "/lists?after=x",
        "/changes?limit=abc",
        "/record/1?after=2",
    ] {
        let answer = http.get(wrong);
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.body);
    }
    for wrong in [
        json!({ "prefix": "203.0.113.9", "expires_in_s": "soon" }),
        json!({ "prefix": "203.0.113.9", "expires_in_s": 0 }),
        json!({ "prefix": "203.0.113.9", "expires_in_s": 1.5 }),
        json!({ "prefix": "203.0.113.9", "for": "1h" }),
        json!({ "prefix": "203.0.113.300" }),
        json!({ "prefix": "203.0.113.9", "expires_in_s": 60, "permanent": true }),
    ] {
        let answer = http.post("/api/v1/entries/blocked", &wrong);
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.body);
    }
}

/// Kind: the console is poorer than the command line: it drops a warning, says nothing
/// of what it did, and offers what it then refuses.
/// Source: the console's confirmation and its answer to it.
#[test]
fn the_console_warns_says_what_it_did_and_lets_force_be_ticked() {
    let (host, _sink) = host("");
    let _daemon = host.start();
    let http = Http::new(&host.namespace, SITE, None);
    // The warning of the command line, before and after, and in the API.
    let warning = "blocking 198.51.100.7/32 has no effect: it is approved by 198.51.100.0/24";
    let page = http.get("/act?what=block&net=198.51.100.7");
    assert!(page.body.contains(warning), "{}", page.body);
    assert!(!page.body.contains("autofocus"), "the focus is on what cannot be undone");
    let done =
        form(&http, "what=block&net=198.51.100.7&for=3600&back=%2Fcheck%3Fip%3D198.51.100.7");
    assert_eq!(done.status, 303);
    let page = http.get(done.header("location"));
    assert_eq!(page.status, 200, "{}", page.body);
    for part in [warning, "198.51.100.7/32 is blocked for ", "/check?ip=198.51.100.7"] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    let body = json!({ "prefix": "198.51.100.8" });
    let answer = http.post("/api/v1/entries/blocked", &body).json();
    let said = answer["warning"].as_str().unwrap_or_default();
    assert!(said.contains("approved.txt:1"), "{answer}");
    let answer = host.home.json(&["block", "add", "198.51.100.9"]);
    assert!(answer["warning"].as_str().is_some_and(|said| said.contains("approved.txt:1")));
    let answer = host.home.json(&["temp", "add", "198.51.100.9", "--for", "1m"]);
    assert!(answer["warning"].as_str().is_some_and(|said| said.contains("no effect")), "{answer}");
    // An act that needs force has a box for it, and an error if the box is not ticked.
    let page = http.get("/act?what=block&net=0.0.0.0/0");
    assert!(page.body.contains("name=\"force\""), "{}", page.body);
    assert!(page.body.contains("4,294,967,296 addresses"), "{}", page.body);
    let refused = form(&http, "what=block&net=0.0.0.0%2F0&for=60&note=a+test");
    assert_eq!(refused.status, 400, "{}", refused.body);
    for part in ["name=\"force\"", "a test", "role=\"alert\""] {
        assert!(refused.body.contains(part), "{part}: {}", refused.body);
    }
    assert!(!blocked(&http).iter().any(|entry| entry["prefix"] == "0.0.0.0/0"));
    let done = form(&http, "what=block&net=203.0.113.7&for=60");
    assert_eq!(done.status, 303);
    // A removal is confirmed too.
    let done = form(&http, "what=unblock&net=203.0.113.7");
    let page = http.get(done.header("location"));
    assert!(
        page.body.contains("203.0.113.7/32 is not blocked by a managed entry"),
        "{}",
        page.body
    );
    let again = form(&http, "what=unblock&net=203.0.113.7");
    assert_eq!(again.status, 404, "{}", again.body);
}

/// Kind: bars that belong to different things are shown as one funnel, and their links
/// lead to something else than they name.
/// Source: the overview's funnel of 42, 34, 145 and 10.
#[test]
fn connections_and_recipients_are_counted_apart_and_links_keep_the_time() {
    let (host, _sink) = host("");
    let _daemon = host.start();
    let http = Http::new(&host.namespace, SITE, None);
    let page = http.get("/?since=6h").body;
    for part in [
        "Connections to protected ports",
        "<a href=\"/blocked?since=6h&amp;status=dropped\">Dropped by the packet filter</a>",
        "<a href=\"/blocked?since=6h&amp;status=temporary,permanent\">Refused</a>",
        "<a href=\"/accepted?since=6h\">Forwarded to the backend</a>",
        "<a href=\"/accepted?since=6h&amp;status=delivered\">Delivered</a>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // Each link is one that the site answers.
    for link in page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        if link.starts_with('/') {
            let answer = http.get(&link.replace("&amp;", "&"));
            assert_eq!(answer.status, 200, "{link}: {}", answer.body);
        }
    }
}

/// Kind: nothing said means everybody. A request that names nobody is a mistake.
#[test]
fn a_request_that_names_nobody_is_not_about_everybody() {
    let (host, _sink) = host("");
    let _daemon = host.start();
    let http = Http::new(&host.namespace, SITE, None);
    for wrong in [
        json!({}),
        json!({ "all": false }),
        json!({ "address": null, "customer": null }),
        json!({ "address": "192.0.2.1", "all": true }),
        json!({ "address": "192.0.2.1", "customer": "acme" }),
    ] {
        let answer = http.post("/api/v1/relay/resume", &wrong);
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.body);
    }
    // Nobody is suspended here.
    assert_eq!(http.post("/api/v1/relay/resume", &json!({ "all": true })).status, 404);
}
