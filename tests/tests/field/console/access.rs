//! Access to the console and the API.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use mxdp::web::sha256_hex;
use mxdp_tests::daemon::Home;
use mxdp_tests::http::Http;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::netns::Namespace;
use mxdp_tests::pace::lasting;

const SITE: &str = "http://127.0.0.1:8025";

fn console(web: &str) -> (Namespace, Home) {
    let (namespace, home) = (Namespace::new("mxw"), Home::new());
    home.configure("interfaces = [\"lo\"]\nmode = \"generic\"", &format!("[web]\n{web}"));
    (namespace, home)
}

/// The first line of the answer to a request whose header fields are these bytes.
fn first_line(namespace: &Namespace, path: &str, fields: &[u8]) -> String {
    namespace.run(|| {
        let mut stream = TcpStream::connect("127.0.0.1:8025").expect("connected");
        stream.set_read_timeout(Some(lasting(Duration::from_secs(20)))).expect("a socket");
        let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:8025\r\nConnection: close\r\n");
        stream.write_all(&[head.as_bytes(), fields, b"\r\n"].concat()).expect("sent");
        let mut answer = Vec::new();
        _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
    })
}

/// Kind: what cannot be read counts as absent. A malformed `Authorization`, or two of them,
/// never has the rights that loopback has without one.
#[test]
fn a_malformed_authorization_never_has_the_rights_of_loopback() {
    let (namespace, home) = console("loopback = \"write\"\n");
    let _daemon = home.start(&namespace);
    assert!(first_line(&namespace, "/metrics", b"").contains(" 200 "));
    for fields in [
        &b"Authorization:\r\n"[..],
        b"Authorization: Bearer\r\n",
        b"Authorization: Basic %%%\r\n",
        b"Authorization: Basic eHh4\r\n",
        b"Authorization: \xff\xfe x\r\n",
        b"Authorization: Negotiate abc\r\n",
        b"Authorization: Bearer x\r\nAuthorization: Bearer x\r\n",
    ] {
        let line = first_line(&namespace, "/metrics", fields);
        assert!(line.contains(" 401 "), "{}: {line}", fields.escape_ascii());
    }
}

/// Kind: trust in an address by default. On loopback nobody is let in without a token, the
/// answer tells a person the first step, and health needs nothing.
#[test]
fn a_token_is_the_first_step_on_loopback_too() {
    let sha256 = sha256_hex("anna");
    let (namespace, home) =
        console(&format!("[[web.tokens]]\nname = \"anna\"\nsha256 = \"{sha256}\"\n"));
    let _daemon = home.start(&namespace);
    let http = Http::new(&namespace, SITE, None);
    for path in ["/", "/lists", "/metrics", "/api/v1/status", "/openapi.json"] {
        let answer = http.get(path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.body.contains("mxdp token NAME"), "{path}: {}", answer.body);
    }
    let page = http.with("accept", "text/html,application/xhtml+xml").get("/");
    assert_eq!((page.status, page.header("content-type")), (401, "text/html; charset=utf-8"));
    assert!(page.body.contains("mxdp token NAME") && page.body.contains("mxdp reload"));
    assert!(page.header("www-authenticate").starts_with("Basic "));
    assert_eq!(http.get("/healthz").status, 200);
    assert_eq!(http.with("authorization", "Bearer anna").get("/").status, 200);
}

/// Kind: a GET that does something. Another site can have no message explained, since that
/// makes this host ask for names of the site's choice, and no search made; a link to a page
/// is answered, and evaluates nothing.
#[test]
fn another_site_has_nothing_evaluated() {
    let host = Host::new();
    let rest = format!(
        "[web]\nloopback = \"write\"\n{}{}",
        domain("example.org", "main", ""),
        backend("main", 2600, "")
    );
    host.configure("", &rest);
    let _daemon = host.start();
    let http = Http::new(&host.namespace, SITE, None);
    let question = "ip=192.0.2.7&from=a@evil.example&rcpt=bob@example.org";
    let (api, page) = (format!("/api/v1/explain?{question}"), format!("/check?{question}"));
    assert_eq!(http.get(&api).status, 200);
    assert!(http.get(&page).body.contains("<table"));
    let image = http.with("sec-fetch-site", "cross-site").with("sec-fetch-mode", "no-cors");
    let image = image.with("sec-fetch-dest", "image");
    let link = http.with("sec-fetch-site", "cross-site").with("sec-fetch-mode", "navigate");
    let link = link.with("sec-fetch-dest", "document");
    let old = http.with("referer", "https://evil.example/");
    let origin = http.with("origin", "https://evil.example");
    for (client, name) in [(&image, "image"), (&link, "link"), (&old, "old"), (&origin, "origin")] {
        assert_eq!(client.get(&api).status, 403, "{name}");
        assert_eq!(client.get("/api/v1/traffic?text=x").status, 403, "{name}");
        assert_eq!(client.get("/healthz").status, 200, "{name}");
    }
    assert_eq!(image.get(&page).status, 403);
    for client in [&link, &old] {
        let answer = client.get(&page);
        assert_eq!(answer.status, 200);
        assert!(!answer.body.contains("<table"), "{}", answer.body);
        assert!(answer.body.contains("Select Check to evaluate it"));
        assert!(answer.body.contains("a@evil.example"), "the form is filled in");
    }
}

/// Kind: arithmetic on numbers that a client chooses. The greatest numbers are answered as
/// all others, by every path that takes one.
#[test]
fn the_greatest_numbers_are_numbers() {
    let (namespace, home) = console("loopback = \"write\"\n");
    let _daemon = home.start(&namespace);
    let http = Http::new(&namespace, SITE, None);
    let most = u64::MAX;
    for path in [
        format!("/api/v1/traffic?after={most}"),
        format!("/api/v1/traffic?before={most}&after=0"),
        format!("/api/v1/traffic?after={}&before={most}", most - 1),
        "/api/v1/traffic?since=9999-12-31&after=0".to_owned(),
        "/api/v1/traffic?until=9999-12-31".to_owned(),
        "/api/v1/summary?since=1970-01-01&until=9999-12-31".to_owned(),
        format!("/blocked?after={most}"),
    ] {
        let answer = http.get(&path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    for path in [
        format!("/record/{most}"),
        "/record/0".to_owned(),
        format!("/api/v1/traffic?after={most}0"),
        format!("/api/v1/traffic?limit={most}"),
        format!("/api/v1/changes?limit={most}"),
        format!("/api/v1/entries/blocked?limit={most}"),
        format!("/api/v1/explain?ip=192.0.2.1&rcpt=a@example.org&size={most}"),
        format!("/api/v1/summary?since={most}d"),
    ] {
        let answer = http.get(&path);
        assert!([400, 404].contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
    }
    for (path, body) in [
        ("/api/v1/temporary", format!("{{\"address\":\"192.0.2.1\",\"seconds\":{most}}}")),
        (
            "/api/v1/entries/blocked",
            format!("{{\"prefix\":\"192.0.2.1/32\",\"expires_in_s\":{most}}}"),
        ),
    ] {
        let http = http.with("content-type", "application/json");
        let answer = http.ask("POST", path, Some(&body)).expect("an answer");
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
    }
    assert!(!home.log().contains("panicked"), "{}", home.log());
}

/// Kind: a description that differs from the code. The limits that the API describes are
/// those that it has: the greatest value is accepted, one more is refused.
#[test]
fn the_api_has_the_limits_that_it_describes() {
    let (namespace, home) = console("loopback = \"write\"\n");
    let _daemon = home.start(&namespace);
    let http = Http::new(&namespace, SITE, None);
    let described = http.get("/openapi.json").json();
    let limit_of = |path: &str, name: &str| {
        let parameters = described["paths"][path]["get"]["parameters"].clone();
        let parameters = parameters.as_array().expect("parameters").clone();
        let found = parameters.iter().find(|parameter| parameter["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} of {path}"))["schema"]["maximum"].as_u64()
    };
    for (path, name, rest) in [
        ("/api/v1/traffic", "limit", ""),
        ("/api/v1/changes", "limit", ""),
        ("/api/v1/temporary", "limit", ""),
        ("/api/v1/entries/{list}", "limit", ""),
        ("/api/v1/explain", "size", "&ip=192.0.2.1&rcpt=bob@example.org"),
    ] {
        let most = limit_of(path, name).expect("a maximum");
        let path = path.replace("{list}", "approved");
        for (value, status) in [(most, 200), (most + 1, 400)] {
            let path = format!("{path}?{name}={value}{rest}");
            let answer = http.get(&path);
            assert_eq!(answer.status, status, "{path}: {}", answer.body);
        }
    }
    assert_eq!(http.get("/api/v1/explain?size=0&ip=192.0.2.1&rcpt=bob@example.org").status, 200);
    // Texts are counted in characters, as JSON Schema does.
    for (count, status) in [(500, 200), (501, 400)] {
        let text = "%C3%BC".repeat(count);
        assert_eq!(http.get(&format!("/api/v1/traffic?text={text}")).status, status, "{count}");
        let search = format!("/api/v1/entries/blocked?search={text}");
        assert_eq!(http.get(&search).status, status, "{count}");
    }
}
