use super::*;
use crate::control::protocol::{
    ClassEnforcement, EventStatus, FailedReload, ListStatus, RecordState, TemporaryStatus,
    TopSource,
};

fn counter(reason: &str, action: &str, family: &str, frames: u64) -> Counter {
    let [reason, action, family] = [reason, action, family].map(str::to_owned);
    Counter { reason, action, family, frames }
}

/// The status of a busy daemon, with `more` frames of one reason.
pub(in crate::cli) fn busy(more: u64) -> Status {
    Status {
        version: "0.1.0".to_owned(),
        pid: 4242,
        uptime_s: 7_500,
        config: "/etc/mxdp/mxdp.toml".to_owned(),
        alarms: Vec::new(),
        interfaces: vec![InterfaceStatus {
            name: "eth0".to_owned(),
            mode: "native".to_owned(),
            pinned: true,
            adopted: false,
            attached: true,
        }],
        ports: vec![25, 465, 587],
        generation: GenerationStatus {
            number: 7,
            since: 1_795_407_247,
            build_ms: 1_412,
            lists: vec![ListStatus {
                source: "/etc/mxdp/blocked.txt".to_owned(),
                class: "blocked_ip".to_owned(),
                entries: 12_345,
                skipped: 0,
                modified: None,
            }],
            ipv4_prefixes: 12_000,
            ipv6_prefixes: 345,
            ipv4_engine: Some("ranges".to_owned()),
            ipv6_engine: Some("trie".to_owned()),
            warnings: Vec::new(),
            runtime_entries: 3,
            enforcement: vec![ClassEnforcement {
                class: "blocked_ip".to_owned(),
                action: "drop".to_owned(),
            }],
        },
        failed_reload: None,
        record: RecordState { error: None, lost: 3, records: 1_234_567, bytes: 345_678_901 },
        counters: vec![
            counter("not_ip", "pass", "other", 31),
            counter("not_tcp", "pass", "ipv4", 1_000_000),
            counter("not_tcp", "pass", "ipv6", 2_000),
            counter("approved_ip", "pass", "ipv4", 900),
            counter("unlisted", "pass", "ipv4", 0),
            counter("unlisted", "pass", "ipv6", 0),
            counter("blocked_ip", "drop", "ipv4", 1_234_567 + more),
            counter("blocked_ip", "drop", "ipv6", 12),
            counter("temporary_block", "drop", "ipv4", 5),
            counter("blocked_country_monitor", "pass", "ipv4", 0),
        ],
        events: EventStatus { unattributed: 0, read: 4_096, lost: 0 },
        temporary: TemporaryStatus { held: 2, capacity: 1_048_576 },
        smtp: None,
        certificates: Vec::new(),
        top_sources: vec![TopSource {
            ip: "203.0.113.7".parse().unwrap(),
            reason: "blocked_ip".to_owned(),
            estimated: 120_000,
        }],
    }
}

const NOW: u64 = 1_795_407_439;

#[test]
fn a_status_is_a_page() {
    let text = render(&busy(0), View::Page, NOW, Style { colour: false });
    assert_eq!(
        text,
        "\
mxdp 0.1.0, pid 4242, up 2h 5m, /etc/mxdp/mxdp.toml
protected ports: 25, 465, 587

Interfaces
  NAME  MODE    PINNED  ADOPTED
  eth0  native  yes     no

Lists  rule set 7, active for 3m 12s, built in 1,412 ms
  12,000 IPv4 prefixes (ranges), 345 IPv6 prefixes (trie), 3 managed entries
  blocked_ip drop
  LIST                   CLASS       ENTRIES  SKIPPED
  /etc/mxdp/blocked.txt  blocked_ip   12,345        0

Dropped
  REASON                IPV4  IPV6      TOTAL
  blocked_ip       1,234,567    12  1,234,579
  temporary_block          5     0          5
  total            1,234,572    12  1,234,584

Passed SYNs
  REASON       IPV4  IPV6  TOTAL
  approved_ip   900     0    900

Passed without a check
  REASON        IPV4   IPV6  OTHER      TOTAL
  not_ip           0      0     31         31
  not_tcp  1,000,000  2,000      0  1,002,000
  total    1,000,000  2,000     31  1,002,031

Temporary blocks  2 of 1,048,576
SYN samples  4,096 read, 0 lost
Mail log  1,234,567 entries, 345 MB, 3 lost

Top dropped sources of the last minutes (estimated)
  SOURCE       REASON          SYNS
  203.0.113.7  blocked_ip  ~120,000
"
    );
}

#[test]
fn alarms_come_first() {
    let mut status = busy(0);
    status.alarms = vec!["eth0: generic mode, slower\nthan native".to_owned()];
    status.failed_reload =
        Some(FailedReload { at: 1_795_407_247, message: "blocked.txt:3: `\x1b[2J`".to_owned() });
    let text = render(&status, View::Page, NOW, Style { colour: false });
    let expected = "\
ALARM  eth0: generic mode, slower
       than native
ALARM  Reload failed at 2026-11-23 04:14:07 UTC; the previous configuration stays active
       blocked.txt:3: `\\u{1b}[2J`

mxdp 0.1.0,";
    assert!(text.starts_with(expected), "{text}");
    assert!(
        render(&status, View::Page, NOW, Style { colour: true }).starts_with("\x1b[1;31mALARM")
    );
}

#[test]
fn rates_are_calculated_since_the_earlier_status() {
    let before = busy(0);
    let earlier = Some(Earlier { status: &before, seconds: 2.0 });
    let text = render(&busy(30_000), View::Screen(earlier), NOW, Style { colour: false });
    let expected = "\
Dropped
  REASON                IPV4  IPV6      TOTAL  PER SECOND
  blocked_ip       1,264,567    12  1,264,579      15,000
  temporary_block          5     0          5           0
  total            1,264,572    12  1,264,584      15,000
";
    assert!(text.contains(expected), "{text}");
    let [dropped, lists] = ["Dropped", "Lists"].map(|heading| text.find(heading).unwrap());
    assert!(dropped < lists, "counters come first");

    // New maps count from zero, which must not give a negative rate.
    let (old, new) = (busy(30_000), busy(0));
    let earlier = Some(Earlier { status: &old, seconds: 1.0 });
    let text = render(&new, View::Screen(earlier), NOW, Style { colour: false });
    assert!(text.contains("1,234,579           -\n"), "{text}");
}

#[test]
fn every_reason_has_its_group() {
    let group = |reason: Reason| {
        let action = if reason.disposition() == Disposition::Drop { "drop" } else { "pass" };
        Group::of(&counter(reason.name(), action, "ipv4", 1))
    };
    for reason in Reason::ALL {
        let dropped = group(reason) == Group::Dropped;
        assert_eq!(dropped, reason.disposition() == Disposition::Drop, "{}", reason.name());
    }
    assert_eq!(group(Reason::NoTables), Group::NotJudged);
    assert_eq!(group(Reason::KnownSpamSourceReject), Group::Passed);
    assert_eq!(group(Reason::KnownSpamSourceMonitor), Group::Monitored);
    assert_eq!(Group::of(&counter("of_tomorrow", "drop", "ipv4", 1)), Group::Dropped);
}
