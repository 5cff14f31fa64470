//! Searches: a nonsensical filter is an error that says what to write.

use mxdp_tests::http::Http;
use mxdp_tests::peers::clients::said;

use super::{SITE, host};

/// Kind: a filter that can find nothing finds nothing, in silence.
/// Source: `sender=a+b@example.com` in a URL, where `+` is a space.
#[test]
fn a_filter_that_no_row_can_match_is_400_with_what_to_write() {
    let (host, _sink) = host("");
    let _daemon = host.start();
    let http = Http::new(&host.namespace, SITE, None);
    for (query, hint) in [
        ("sender=a+b@example.com", "%2B"),
        ("recipient=a+b@example.com", "%2B"),
        ("since=2026-11-23T05:14:07+01:00", "%2B"),
        ("sender=bob", "*@example.org"),
        ("recipient=%3C%3E", "only a sender can be null"),
        ("sender=@example.org", "*@example.org"),
        ("sender=a@x.example,b@y.example", "not one address"),
        ("reason=,", "is an empty list"),
        ("reason=because", "not one of"),
        ("stage=dns", "not one of"),
        ("status=refused", "not one of"),
        ("direction=outbound", "not one of"),
        ("country=Germany", "two letters"),
        ("ip=192.0.2.0/33", "192.0.2.0/24"),
        ("reference=1M%2042", "a reference such as"),
        ("since=24", "24h"),
        ("since=1h&until=2h", "ends before it begins"),
        ("type=blocked&status=delivered", "accepted traffic"),
        ("limit=1001", "1 to 1000"),
        ("before=x", "`next`"),
        ("sender=a@x.example&sender=b@x.example", "given twice"),
        ("from=a@x.example", "type, since, until"),
    ] {
        for path in ["/api/v1/traffic", "/blocked"] {
            if path == "/blocked" && query.starts_with("type=") {
                continue;
            }
            let answer = http.get(&format!("{path}?{query}"));
            assert_eq!(answer.status, 400, "{path}?{query}: {}", answer.body);
            let body = answer.body.replace("&lt;", "<").replace("&gt;", ">");
            assert!(body.contains(hint), "{query}: {hint} in {body}");
        }
    }
    for good in ["sender=a%2Bb@example.com", "sender=%3C%3E", "sender=*", "reason=blocked_ip"] {
        assert_eq!(http.get(&format!("/api/v1/traffic?{good}")).status, 200, "{good}");
    }
    let output = host.home.run(&["traffic", "blocked", "--sender", "bob"]);
    assert!(!output.status.success() && said(&output).contains("*@example.org"));
}
