//! The web console in a browser.

use std::net::{IpAddr, SocketAddr};

use mxdp_tests::daemon::wait_for;
use mxdp_tests::dialogue::Dialogue;
use mxdp_tests::mail::Host;
use mxdp_tests::peers::chromium::Browser;

use crate::{SITE, drops, host, records, send};

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
    // A search that cannot be meant is 400, which the browser notes.
    let said = browser.console().into_iter().filter(|line| !line.contains("reason=because"));
    assert_eq!(said.collect::<Vec<_>>(), Vec::<String>::new());
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
    assert!(facts.contains("All checks of the envelope pass"), "{facts}");
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
    wait_for("what was done", || browser.text("main").contains("would be let in"));
    assert!(browser.text("main").contains("192.0.2.99/32 is approved for"));
    let source: IpAddr = "192.0.2.99".parse().expect("an address");
    let target: SocketAddr = "127.0.0.1:25".parse().expect("an address and port");
    let mut client = Dialogue::open(&host.namespace, source, target).expect("a connection");
    assert!(client.line().is_ok_and(|line| line.starts_with("220")));

    // The list shows the entry with its owner, time and note, and it can be removed.
    browser.follow("Lists");
    let lists = browser.text("main");
    for part in ["192.0.2.99/32", "approved", "a customer's <b>host</b>", "blocked.txt"] {
        assert!(lists.contains(part), "{part} in {lists}");
    }
    assert!(lists.contains("1 d") || lists.contains("23 h"), "when it lapses: {lists}");
    browser.follow("Remove");
    browser.click("form.confirm button");
    wait_for("what was done", || browser.text("h1") == "Done");
    browser.follow("Back");
    assert_eq!(browser.text("h1"), "Lists");
    assert!(drops(host, "192.0.2.99"), "still approved");
    browser.follow("Changes");
    let changes = browser.text("main tbody");
    let approval = "approve 192.0.2.99/32 for 86400 s (a customer's <b>host</b>)";
    assert!(changes.contains("no longer approve 192.0.2.99/32"), "{changes}");
    assert!(changes.contains(approval) && changes.contains("this host"), "{changes}");

    // A temporary block, lifted from its address.
    host.home.json(&["temp", "add", "192.0.2.7", "--for", "1h", "--force"]);
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
        ("done", "/done?what=block&net=192.0.2.7&back=%2Flists"),
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
