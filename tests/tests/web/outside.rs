//! Access on an address other than loopback.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use mxdp::web::sha256_hex;
use mxdp_tests::daemon::{Home, wait_for};
use mxdp_tests::http::{Answer, Http};
use mxdp_tests::netns::Pair;
use mxdp_tests::tls::Authority;
use serde_json::json;

/// An edge host whose page is off loopback, with TLS, a token that reads and one that
/// writes; and its authority.
fn outside(keys: &str) -> (Pair, Home, PathBuf) {
    let (pair, home) = (Pair::new(), Home::new());
    let authority = Authority::new();
    let folder = home.path("");
    let ca = authority.certificate(&folder);
    let (chain, key) = authority.issue(&folder, "10.77.0.1");
    let tokens: String = [("reader", "read"), ("writer", "write")]
        .iter()
        .map(|(name, rights)| {
            format!(
                "[[web.tokens]]\nname = \"{name}\"\nrights = \"{rights}\"\nsha256 = \"{}\"\n",
                sha256_hex(&format!("{name}'s secret"))
            )
        })
        .collect();
    let web = format!(
        "[web]\nlisten = [\"10.77.0.1:8025\"]\nchain = \"{}\"\nkey = \"{}\"\n{keys}\n{tokens}",
        chain.display(),
        key.display()
    );
    home.configure("interfaces = [\"e0\"]\nmode = \"native\"", &web);
    (pair, home, ca)
}

fn bearer<'a>(http: &Http<'a>, name: &str) -> Http<'a> {
    http.with("authorization", &format!("Bearer {name}'s secret"))
}

fn is_refused(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.json()["error"]["kind"], kind);
}

#[test]
fn off_loopback_nothing_but_health_answers_without_a_token() {
    let (pair, home, ca) = outside("loopback = \"write\"");
    let daemon = home.start(&pair.edge);
    let stranger = Http::new(&pair.client, "https://10.77.0.1:8025", Some(&ca));
    let plain = Http::new(&pair.client, "http://10.77.0.1:8025", None);
    assert!(plain.ask("GET", "/healthz", None).is_err(), "HTTP without TLS");
    assert_eq!(stranger.get("/healthz").body, "ok\n");
    assert_eq!(stranger.get("/readyz").body, "ready\n");
    // Nobody is on this host by saying so.
    let liar = stranger.with("x-forwarded-for", "127.0.0.1").with("forwarded", "for=127.0.0.1");
    for path in [
        "/",
        "/blocked",
        "/style.css",
        "/metrics",
        "/openapi.json",
        "/api/v1/status",
        "/nothing",
        "/healthz/",
        "//healthz",
        "/healthz/../metrics",
        "/api/v1/../../healthz",
    ] {
        for http in [&stranger, &liar] {
            let answer = http.get(path);
            is_refused(&answer, 401, "unauthorized");
            assert!(answer.header("www-authenticate").starts_with("Basic "), "{path}");
        }
        // Space for the rate.
        thread::sleep(Duration::from_millis(40));
    }
    let wrong = stranger.with("authorization", "Bearer reader's secre");
    is_refused(&wrong.get("/metrics"), 401, "unauthorized");

    // Reading and writing are apart.
    let entry = json!({"prefix": "198.51.100.0/24", "note": "by script"});
    let reader = bearer(&stranger, "reader");
    assert_eq!(reader.get("/api/v1/status").json()["pid"], daemon.pid());
    assert!(reader.get("/blocked").body.contains("<h1>Blocked traffic</h1>"));
    is_refused(&reader.post("/api/v1/entries/blocked", &entry), 403, "forbidden");
    is_refused(&reader.post("/api/v1/reload", &json!({})), 403, "forbidden");
    let writer = bearer(&stranger, "writer");
    assert_eq!(writer.post("/api/v1/entries/blocked", &entry).status, 200);
    let listed = reader.get("/api/v1/entries/blocked").json();
    assert_eq!(listed[0]["prefix"], "198.51.100.0/24");
    let path = "/api/v1/entries/blocked?prefix=198.51.100.0/24";
    is_refused(&reader.ask("DELETE", path, None).expect("an answer"), 403, "forbidden");
    assert_eq!(writer.ask("DELETE", path, None).expect("an answer").status, 200);
    assert_eq!(reader.get("/api/v1/entries/blocked").json(), json!([]));
    // A browser's password does as well; its page of another site does not.
    let basic = stranger.with("authorization", "Basic YW5uYTp3cml0ZXIncyBzZWNyZXQ=");
    assert_eq!(basic.get("/api/v1/status").status, 200);
    let form = basic.with("content-type", "application/x-www-form-urlencoded");
    let act = Some("what=block&net=198.51.100.9&back=/lists");
    let ask = |http: &Http<'_>| http.ask("POST", "/act", act).expect("an answer");
    is_refused(&ask(&form.with("sec-fetch-site", "cross-site")), 403, "forbidden");
    is_refused(&ask(&form.with("origin", "https://evil.example")), 403, "forbidden");
    assert_eq!(reader.get("/api/v1/entries/blocked").json(), json!([]));
    let done = ask(&form.with("origin", "https://10.77.0.1:8025"));
    let to = "/done?what=block&net=198.51.100.9&back=%2Flists";
    assert_eq!((done.status, done.header("location")), (303, to));
    // Where it leads back is never another host.
    let act = Some("what=unblock&net=198.51.100.9&back=//evil.example/");
    let done = form.ask("POST", "/act", act).expect("an answer");
    let to = "/done?what=unblock&net=198.51.100.9&back=%2Flists";
    assert_eq!((done.status, done.header("location")), (303, to));

    // The audit trail names the token; no secret is anywhere.
    wait_for("the changes", || home.json_lines(&["audit"]).len() == 4);
    // What no operator did, such as a reload of changed files, is mxdp's own.
    for change in home.json_lines(&["audit"]) {
        assert_eq!(change["who"], "token writer from 10.77.0.2", "{change:#}");
    }
    assert!(!home.log().contains("secret"), "{}", home.log());

    // On its own loopback it does not listen; the host itself is a stranger too.
    let here = Http::new(&pair.edge, "https://10.77.0.1:8025", Some(&ca));
    is_refused(&here.get("/metrics"), 401, "unauthorized");
}

#[test]
fn guesses_and_floods_are_slowed_down() {
    let (pair, home, ca) = outside("");
    let _daemon = home.start(&pair.edge);
    let stranger = Http::new(&pair.client, "https://10.77.0.1:8025", Some(&ca));
    let statuses: Vec<_> = (0..40)
        .map(|number| stranger.with("authorization", &format!("Bearer {number}")))
        .map(|guess| guess.get("/metrics").status)
        .collect();
    let slowed = statuses.iter().filter(|status| **status == 429).count();
    assert!(slowed >= 20 && statuses[..5] == [401; 5], "{statuses:?}");
    let answer = stranger.with("authorization", "Bearer x").get("/metrics");
    is_refused(&answer, 429, "too_many_requests");
    assert_eq!(answer.header("retry-after"), "5");
    // Another address is not slowed by it.
    pair.add_client_address("10.77.0.3");
    let other = bearer(&Http::new(&pair.edge, "https://10.77.0.1:8025", Some(&ca)), "reader");
    assert_eq!(other.get("/api/v1/status").status, 200);
}
