//! The page and the interface: who may ask what, and what a browser makes of it.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use mxdp::web::sha256_hex;
use mxdp_tests::daemon::{Home, wait_for};
use mxdp_tests::dialogue::{Dialogue, is_dropped};
use mxdp_tests::http::{Answer, Http};
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::netns::Pair;
use mxdp_tests::peers;
use mxdp_tests::peers::chromium::Browser;
use mxdp_tests::peers::clients::{said, swaks};
use mxdp_tests::peers::relays::Sink;
use mxdp_tests::tls::Authority;
use serde_json::{Value, json};

const PORT: u16 = 2600;
const SITE: &str = "http://127.0.0.1:8025";

const LISTS: &str = r#"
[blocked]
addresses = ["192.0.2.66"]
files = ["blocked.txt"]
[known_spam_sources]
addresses = ["192.0.2.67"]
[enforcement]
known_spam_source = "reject"
[countries]
folder = "countries"
[senders]
blocked = ["*@spam.example"]
[web]
loopback = "write"
"#;

/// A host with a page and smtp-sink behind it.
fn host() -> (Host, Sink) {
    let host = Host::new();
    for address in ["192.0.2.7/32", "192.0.2.66/32", "192.0.2.67/32", "192.0.2.99/32"] {
        host.namespace.ip(&format!("addr add {address} dev lo"));
    }
    let sink = Sink::start(&host.namespace, PORT, &[]);
    fs::create_dir(host.home.path("countries")).expect("a folder");
    host.home.write("countries/at.cidr", "192.0.2.0/25\n");
    host.home.write("blocked.txt", "# by hand\n192.0.2.99\n");
    let rest = format!("{LISTS}{}{}", domain("example.org", "main", ""), backend("main", PORT, ""));
    host.configure("", &rest);
    (host, sink)
}

fn send(host: &Host, more: &[&str]) {
    let common = ["--server", "127.0.0.1", "--helo", "client.example", "--to", "bob@example.org"];
    let output = swaks(&host.namespace, &[&common, more].concat());
    // 0 is delivered; 23 and 24 are a refused sender and recipient.
    let code = output.status.code();
    assert!([Some(0), Some(23), Some(24)].contains(&code), "{}", said(&output));
}

fn drops(host: &Host, source: &str) -> bool {
    let source: IpAddr = source.parse().expect("an address");
    is_dropped(&host.namespace, source, "127.0.0.1:25".parse().expect("an address and port"))
}

fn records(host: &Host, kind: &str) -> usize {
    host.home.json_lines(&["traffic", kind, "--all"]).len()
}

/// Mail that is delivered and refused, of which some means harm; and dropped SYNs.
fn traffic(host: &Host) {
    for number in 0..30 {
        let subject = format!("Subject: Invoice {number}");
        send(host, &["--from", "anna@b.example", "--header", &subject]);
    }
    let subject = "Subject: <script>document.title='owned'</script><img src=x onerror=alert(1)>";
    let from = "\"<b>x</b>\"@b.example";
    send(host, &["--from", from, "--helo", "<u>helo</u>", "--header", subject]);
    for _ in 0..60 {
        send(host, &["--from", "x@spam.example"]);
    }
    send(host, &["--from", "a@b.example", "--local-interface", "192.0.2.67"]);
    assert!(drops(host, "192.0.2.99"), "a blocked address gets in");
    wait_for("the record", || records(host, "accepted") == 31 && records(host, "blocked") == 62);
}

/// No dialogue, no element of another's making, no word in the console, and no
/// request to another host.
#[track_caller]
fn is_clean(browser: &Browser<'_>) {
    assert_eq!(browser.console(), Vec::<String>::new());
    for url in browser.requests() {
        assert!(url.starts_with(SITE) || url.starts_with("data:"), "{url}");
    }
    assert_eq!(browser.count("main img, main script, main b b, main u"), 0);
    assert!(browser.eval("document.title").as_str().is_some_and(|title| title.ends_with("mxdp")));
}

#[test]
fn a_postmaster_looks_searches_and_approves() {
    let (host, _sink) = host();
    let _daemon = host.start();
    traffic(&host);
    let browser = Browser::start(&host.namespace);

    // The overview has plots of what happened.
    browser.go(SITE);
    assert_eq!(browser.text("h1"), "Overview");
    // Bars as high as what they stand for: the sum of the legend.
    let bars = browser.count(".plot rect[class^=c]");
    assert!(bars >= 4, "{bars} bars in {}", browser.text("main"));
    assert_eq!(browser.text(".plot:nth-of-type(1) .legend li"), "unlisted 91");
    let overview = browser.text("main");
    for part in ["blocked_sender", "AT", "192.0.2.99", "main", "up"] {
        assert!(overview.contains(part), "{part} in {overview}");
    }
    is_clean(&browser);

    // Search, filter, page.
    browser.follow("Blocked traffic");
    let columns = ["Timestamp (UTC)", "Sender", "Recipient", "Blocking reason", "Sender IP"];
    for (number, name) in (1..).zip(columns) {
        assert_eq!(browser.text(&format!("thead th:nth-child({number})")), name);
    }
    assert_eq!(browser.count("tbody tr"), 50);
    browser.follow("Older");
    assert_eq!(browser.count("tbody tr"), 12);
    assert!(browser.eval("location.search").as_str().is_some_and(|q| q.starts_with("?before=")));
    browser.follow("Newest");
    browser.fill("input[name=sender]", "*@spam.example");
    browser.fill("input[name=since]", "1h");
    browser.press('\u{E007}');
    wait_for("the search", || browser.eval("location.search") != "");
    assert_eq!(browser.eval("location.search"), "?since=1h&sender=*%40spam.example");
    assert_eq!(browser.count("tbody tr"), 50);
    let cells = browser
        .eval("[...document.querySelectorAll('tbody td:nth-child(2)')].map(td => td.innerText)");
    assert!(
        cells.as_array().is_some_and(|cells| cells.iter().all(|cell| cell == "x@spam.example"))
    );
    browser.go(&format!("{SITE}/blocked?reason=because&ip=x"));
    assert!(browser.text("[role=alert]").contains("because"));
    // What another wrote stays what it is: text.
    browser.go(&format!("{SITE}/accepted?text=owned"));
    assert!(browser.text("tbody tr").contains("<script>document.title='owned'</script>"));
    browser.click("tbody a");
    let facts = browser.text("main");
    for part in ["\"<b>x</b>\"@b.example", "<u>helo</u>", "250 2.0.0", "<img src=x", "main at "] {
        assert!(facts.contains(part), "{part} in {facts}");
    }
    assert!(facts.contains("It would be passed to the backend"), "{facts}");
    is_clean(&browser);

    // An export is what the search found.
    browser.go(&format!("{SITE}/accepted?text=Invoice"));
    browser.follow("Export as CSV");
    let file = browser.downloads().join("mxdp-traffic.csv");
    wait_for("the download", || file.exists());
    let rows = csv::Reader::from_path(&file).expect("CSV").into_records().count();
    assert_eq!(rows, 30);

    approve_and_lift(&host, &browser);
    everywhere(&browser);
}

/// From a row to an approval, and the next connection passes.
fn approve_and_lift(host: &Host, browser: &Browser<'_>) {
    browser.go(&format!("{SITE}/blocked?stage=syn"));
    browser.click("tbody a");
    let facts = browser.text("main");
    assert!(facts.contains("blocked.txt:2"), "{facts}");
    assert!(facts.contains("would be dropped"), "{facts}");
    browser.follow("Approve 192.0.2.99");
    assert_eq!(browser.text("h1"), "Approve 192.0.2.99?");
    assert!(drops(host, "192.0.2.99"), "approved before it was confirmed");
    browser.fill("input[name=note]", "a customer's <b>host</b>");
    browser.click("select[name=for] option[value='86400']");
    browser.click("form.confirm button");
    wait_for("the record's page", || browser.text("main").contains("would be let in"));
    let source: IpAddr = "192.0.2.99".parse().expect("an address");
    let target: SocketAddr = "127.0.0.1:25".parse().expect("an address and port");
    let mut client = Dialogue::open(&host.namespace, source, target).expect("a connection");
    assert!(client.line().is_ok_and(|line| line.starts_with("220")));

    // The list has it, with who, when and why; and it can be taken back.
    browser.follow("Lists");
    let lists = browser.text("main");
    for part in ["192.0.2.99/32", "approved", "a customer's <b>host</b>", "blocked.txt"] {
        assert!(lists.contains(part), "{part} in {lists}");
    }
    assert!(lists.contains("1 d") || lists.contains("23 h"), "when it lapses: {lists}");
    browser.follow("Remove");
    browser.click("form.confirm button");
    wait_for("the lists", || browser.text("h1") == "Lists");
    assert!(drops(host, "192.0.2.99"), "still approved");
    browser.follow("Changes");
    let changes = browser.text("main tbody");
    let approval = "approve 192.0.2.99/32 for 86400 s (a customer's <b>host</b>)";
    assert!(changes.contains("no longer approve 192.0.2.99/32"), "{changes}");
    assert!(changes.contains(approval) && changes.contains("this host"), "{changes}");

    // A temporary block, lifted from its address.
    host.home.json(&["temp", "add", "192.0.2.7", "--for", "1h"]);
    browser.go(&format!("{SITE}/check?ip=192.0.2.7"));
    assert!(browser.text("main").contains("Temporary block"));
    browser.follow("Lift its temporary block");
    browser.click("form.confirm button");
    wait_for("the lift", || browser.text("main").contains("would be let in"));
    is_clean(browser);
}

/// Each page in each look, with the keyboard's way to the content.
fn everywhere(browser: &Browser<'_>) {
    browser.go(SITE);
    browser.press('\u{E004}');
    assert_eq!(browser.eval("document.activeElement.className"), "skip");
    browser.go(&format!("{SITE}/accepted?text=owned"));
    let record = browser.eval("document.querySelector('tbody a').getAttribute('href')");
    let record = record.as_str().expect("a link");
    let check = "/check?ip=192.0.2.67&from=a%40b.example&rcpt=bob%40example.org&tls=1.3";
    for (name, path) in [
        ("overview", "/"),
        ("blocked", "/blocked"),
        ("accepted", "/accepted"),
        ("record", record),
        ("lists", "/lists"),
        ("check", check),
        ("changes", "/changes"),
        ("confirm", "/act?what=block&net=192.0.2.7&back=%2Flists"),
    ] {
        for (look, width, scheme) in [
            ("wide", 1280, "light"),
            ("wide", 1280, "dark"),
            ("narrow", 390, "light"),
            ("narrow", 390, "dark"),
        ] {
            browser.looks(width, 900, scheme);
            browser.go(&format!("{SITE}{path}"));
            let picture = browser.screenshot(&format!("{name}-{look}-{scheme}"));
            assert!(picture.len() > 5_000, "{name}");
            // The page is never wider than the window: tables scroll within it.
            let wider = "document.documentElement.scrollWidth - innerWidth";
            let wider = browser.eval(wider).as_i64().expect("a number");
            assert!(wider <= 0, "{name} is {wider} px wider than {width} px");
            let colour = browser.eval("getComputedStyle(document.body).backgroundColor");
            let first =
                colour.as_str().and_then(|text| text.split(['(', ',']).nth(1)?.parse().ok());
            let first: u32 = first.unwrap_or_else(|| panic!("{colour}"));
            assert_eq!(first < 128, scheme == "dark", "{name}: {colour}");
            is_clean(browser);
        }
        // What a screen reader needs: names for fields, and a heading.
        let unnamed = "[...document.querySelectorAll('main input:not([type=hidden]), main select')]\
                       .filter(field => !field.labels.length).length";
        assert_eq!(browser.eval(unnamed), 0, "{name}");
        assert_eq!(browser.count("h1"), 1, "{name}");
    }
}

/// An edge host whose page is off loopback, with TLS, a token that reads and one that
/// writes; and its authority.
fn outside(keys: &str) -> (Pair, Home, std::path::PathBuf) {
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
        std::thread::sleep(std::time::Duration::from_millis(40));
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
    assert_eq!((done.status, done.header("location")), (303, "/lists"));
    // Where it leads back is never another host.
    let act = Some("what=unblock&net=198.51.100.9&back=//evil.example/");
    let done = form.ask("POST", "/act", act).expect("an answer");
    assert_eq!((done.status, done.header("location")), (303, "/lists"));

    // Who it was is in the record of changes; no secret is anywhere.
    wait_for("the changes", || home.json_lines(&["audit"]).len() == 4);
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

#[test]
fn what_is_too_large_or_no_http_is_refused() {
    let (host, _sink) = host();
    let _daemon = host.start();
    let http = Http::new(&host.namespace, SITE, None);
    let long = "x".repeat(70_000);
    let answer = http.post("/api/v1/temporary", &json!({ "address": long, "seconds": 1 }));
    assert_eq!(answer.status, 400, "{}", answer.body);
    let path = format!("/blocked?sender={}", &long[..60_000]);
    assert!(http.ask("GET", &path, None).map_or(true, |answer| answer.status == 431));
    for (bytes, expected) in [
        (&b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"[..], "HTTP/1.1 401"),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "HTTP/1.1 401"),
        (b"EHLO x\r\n", "HTTP/1.1 400"),
        (b"\x16\x03\x01\x00\x01\x00\r\n\r\n", "HTTP/1.1 400"),
    ] {
        let answer = host.namespace.run(|| {
            use std::io::{Read as _, Write as _};
            let mut stream = std::net::TcpStream::connect("127.0.0.1:8025").expect("connected");
            stream.write_all(bytes).expect("sent");
            let mut answer = Vec::new();
            _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        });
        assert!(answer.starts_with(expected), "{bytes:?}: {answer}");
    }
    assert_eq!(http.get("/healthz").status, 200);
}

#[test]
fn prometheus_reads_the_metrics() {
    let (host, _sink) = host();
    let _daemon = host.start();
    send(&host, &["--from", "anna@b.example"]);
    send(&host, &["--from", "x@spam.example"]);
    assert!(drops(&host, "192.0.2.66"));
    let http = Http::new(&host.namespace, SITE, None);
    wait_for("the records", || records(&host, "blocked") == 2);
    let answer = http.get("/metrics");
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    host.home.write("metrics", &answer.body);
    // The parser that is Prometheus's own in Python.
    let script = "import sys, json\nfrom prometheus_client.parser import \
         text_string_to_metric_families as read\n\
         print(json.dumps([[s.name, s.labels, s.value, m.type, m.documentation] \
         for m in read(open(sys.argv[1]).read()) for s in m.samples]))";
    let output = peers::command("python3.11")
        .env("PYTHONPATH", peers::find("usr/lib/python3/dist-packages"))
        .args(["-c", script])
        .arg(host.home.path("metrics"))
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{}", said(&output));
    let samples: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let value = |name: &str, labels: Value| {
        let found = samples.iter().find(|sample| sample[0] == name && sample[1] == labels);
        found.unwrap_or_else(|| panic!("no {name} {labels} in {}", answer.body))[2].as_f64()
    };
    let outcome = |outcome: &str, reason: &str| json!({"outcome": outcome, "reason": reason});
    let recipients = "mxdp_smtp_recipients_total";
    assert_eq!(value(recipients, outcome("accepted", "accepted")), Some(1.0));
    assert_eq!(value(recipients, outcome("refused", "blocked_sender")), Some(1.0));
    let frames = json!({"action": "drop", "reason": "blocked_ip", "family": "ipv4"});
    assert!(value("mxdp_frames_total", frames) >= Some(1.0));
    assert_eq!(value("mxdp_alarms", json!({})), Some(0.0));
    for sample in &samples {
        let name = sample[0].as_str().expect("a name");
        assert!(name.starts_with("mxdp_") && sample[4] != "", "{sample}");
        assert_eq!(name.ends_with("_total"), sample[3] == "counter", "{sample}");
    }
}

/// Values that somebody may send where others are meant.
const HOSTILE: [&str; 16] = [
    "",
    "0",
    "-1",
    "99999999999999999999999",
    "1e9",
    "null",
    "true",
    "%00",
    "%FF%FE",
    "%F0%9F%92%A9",
    "'%20OR%201=1--",
    "%22%29%20OR%20(%22",
    "*",
    "%2E%2E%2F%2E%2E%2Fetc%2Fpasswd",
    "::ffff:0.0.0.0/0",
    "9999-12-31T23:59:59.999999999Z",
];

#[test]
fn no_value_of_any_part_is_an_error_of_the_server() {
    let (host, _sink) = host();
    let _daemon = host.start();
    send(&host, &["--from", "anna@b.example"]);
    let http = Http::new(&host.namespace, SITE, None);
    let document = http.get("/openapi.json").json();
    let paths = document["paths"].as_object().expect("paths");
    let mut asked = 0;
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                for value in HOSTILE {
                    let name = parameter["name"].as_str().expect("a name");
                    let good = operation["parameters"].as_array().into_iter().flatten();
                    let good =
                        good.filter(|other| other["required"] == true && other["in"] == "query");
                    let rest: String = good
                        .filter(|other| other["name"] != name)
                        .map(|other| {
                            let name = other["name"].as_str().unwrap_or_default();
                            format!(
                                "&{name}={}",
                                if name == "ip" { "192.0.2.7" } else { "bob@example.org" }
                            )
                        })
                        .collect();
                    let target = if parameter["in"] == "path" {
                        path.replace(&format!("{{{name}}}"), value)
                    } else {
                        format!("{}?{name}={value}{rest}", path.replace("{list}", "blocked"))
                    };
                    let answer = http.ask(&method.to_uppercase(), &target, None);
                    let Ok(mut answer) = answer else { panic!("{target}: nobody answers") };
                    while answer.status == 429 {
                        std::thread::sleep(std::time::Duration::from_millis(500));
                        answer =
                            http.ask(&method.to_uppercase(), &target, None).expect("an answer");
                    }
                    assert!(answer.status < 500, "{method} {target}: {}", answer.body);
                    if answer.status >= 400 {
                        assert!(answer.json()["error"]["message"].is_string(), "{target}");
                    }
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 400, "{asked}");
    assert_eq!(http.get("/readyz").status, 200);
}
