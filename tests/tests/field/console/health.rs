//! Health: an alarm is in every view, and a reload reports its changes.

use mxdp_tests::daemon::wait_for;
use mxdp_tests::http::Http;
use mxdp_tests::peers::clients::said;
use serde_json::Value;

use super::{SITE, host};

/// Kind: a fault is shown in one view and missing in the others.
/// Source: a failed reload stood in the text of `status` alone.
#[test]
fn a_failed_reload_is_an_alarm_in_every_view_and_ends_with_a_good_one() {
    let (host, _sink) = host("");
    let _daemon = host.start();
    let http = Http::new(&host.namespace, SITE, None);
    let alarms = || {
        let alarms = host.home.json(&["status"])["alarms"].clone();
        alarms.as_array().cloned().unwrap_or_default()
    };
    wait_for("a quiet start", || alarms().is_empty());
    let code = || host.home.run(&["status", "--exit-code"]).status.code();
    assert_eq!(code(), Some(0));
    assert_eq!(http.get("/readyz").body, "ready\n");
    let good = std::fs::read(host.home.path("mxdp.toml")).expect("the configuration");
    let bad = [&good[..], b"[smpt]\n[logg]\n"].concat();
    host.home.write("mxdp.toml", bad);
    assert_eq!(host.home.run(&["reload"]).status.code(), Some(3));
    let found = alarms();
    let is_it = |alarm: &Value| {
        let text = alarm.as_str().unwrap_or_default();
        text.contains("the reload of") && text.contains("smpt") && text.contains("(and 1 more)")
    };
    assert!(found.iter().any(is_it), "{found:?}");
    assert_eq!(code(), Some(6));
    // An answer about readiness is kept for a second.
    let told = "ready, 1 alarms: see mxdp status\n";
    wait_for("the alarm in /readyz", || http.get("/readyz").body == told);
    assert!(http.get("/metrics").body.contains("\nmxdp_alarms 1\n"));
    assert!(http.get("/").body.contains("the previous configuration stays active"));
    let text = said(&host.home.run(&["status"]));
    assert_eq!(text.matches("ALARM").count(), 1, "{text}");
    assert!(text.contains("smpt") && text.contains("logg"), "{text}");
    host.home.write("mxdp.toml", good);
    assert!(host.home.run(&["reload"]).status.success());
    assert_eq!(alarms(), Vec::<Value>::new());
    assert_eq!(code(), Some(0));
    wait_for("no alarm in /readyz", || http.get("/readyz").body == "ready\n");
}

/// Kind: what a rule set is warned of is shown in one view and missing in the others.
/// Source: "takes effect when mxdp is restarted" was in the JSON of `status` alone.
#[test]
fn a_change_that_needs_a_restart_is_said_in_every_view() {
    let (host, _sink) = host("");
    let _daemon = host.start();
    let http = Http::new(&host.namespace, SITE, None);
    let text = std::fs::read_to_string(host.home.path("mxdp.toml")).expect("the configuration");
    host.home.write("mxdp.toml", text + "[log]\nlevel = \"debug\"\n");
    let warning = "log.level was changed; that takes effect when mxdp is restarted";
    let has_it = || said(&host.home.run(&["status"])).contains(warning);
    wait_for("the reload", has_it);
    let json = host.home.json(&["status"]);
    let warnings = json["generation"]["warnings"].to_string();
    assert!(warnings.contains(warning), "{warnings}");
    for path in ["/", "/lists"] {
        assert!(http.get(path).body.contains(warning), "{path}");
    }
    assert!(!http.get("/metrics").body.contains("\nmxdp_warnings 0\n"));
}

/// Kind: changes by editing files leave no trace in the audit trail.
/// Source: `mxdp audit` knew nothing of edited files.
#[test]
fn a_reload_is_a_row_with_the_keys_and_entries_that_changed() {
    let (host, _sink) = host("");
    host.home.write("recipients.txt", "bob@example.org\nann@example.org\n");
    let with = std::fs::read_to_string(host.home.path("mxdp.toml")).expect("the configuration");
    let with = with.replace(
        "names = [\"example.org\"]\n",
        "names = [\"example.org\"]\nrecipients = [\"recipients.txt\"]\n",
    );
    host.home.write("mxdp.toml", &with);
    let _daemon = host.start();
    let rows = || {
        let rows = host.home.json_lines(&["audit"]);
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        rows.iter()
            .map(|row| (text(row, "who"), text(row, "what"), text(row, "outcome")))
            .collect::<Vec<_>>()
    };
    let find = |parts: &[&str]| {
        let is_it = |what: &str| parts.iter().all(|part| what.contains(part));
        rows().into_iter().find(|(_, what, _)| is_it(what))
    };
    // A list gains eleven and loses one: all are counted, ten are named.
    let many: String = (1..=11).map(|host| format!("203.0.113.{host}\n")).collect();
    host.home.write("blocked.txt", many);
    let parts = ["blocked.txt: 11 added (203.0.113.1/32", "…), 1 removed (192.0.2.66/32)"];
    wait_for("the list's row", || find(&parts).is_some());
    let (who, what, outcome) = find(&parts).expect("the row");
    assert_eq!((who.as_str(), outcome.as_str()), ("mxdp", "done"));
    assert!(what.starts_with("reload (files changed"), "{what}");
    assert!(!what.contains("203.0.113.11/32"), "more than ten are named: {what}");
    host.home.write("recipients.txt", "bob@example.org\ncarl@example.org\n");
    let parts = ["recipients.txt: 1 added (carl@example.org), 1 removed (ann@example.org)"];
    wait_for("the recipients' row", || find(&parts).is_some());
    // A key, from what to what.
    host.home.write("mxdp.toml", with.replace("[web]", "[rate]\nper_address = 90\n[web]"));
    wait_for("the key's row", || find(&["rate.per_address: not set → 90"]).is_some());
    // One that fails is a row too.
    host.home.write("mxdp.toml", "nonsense = 1\n");
    wait_for("the failure's row", || {
        rows().iter().any(|(_, what, outcome)| {
            what.starts_with("reload (")
                && outcome.contains("refused")
                && outcome.contains("nonsense")
        })
    });
}
