//! `check`: the report on a configuration and its lists.

use std::path::Path;

use super::error::{CliError, Exit};
use super::output::{Colour, Output, Style, clean};
use super::table::{Align, Table, number};
use crate::control::protocol::ListStatus;
use crate::offline::{self, Asked, CheckReport};

/// Checks a configuration. The report, with its errors, is the result, so it goes to
/// standard output.
pub(super) fn check(config: &Path, online: bool, output: &mut Output) -> Result<Exit, CliError> {
    let report = offline::check(config, online);
    if output.json {
        output.object(&report)?;
    } else {
        let text = render(config, &report, output.style);
        output.text(&text)?;
    }
    let all_pass = report.online.iter().all(|asked| asked.good);
    Ok(match (report.errors.is_empty(), all_pass) {
        (false, _) => Exit::Configuration,
        (true, false) => Exit::Failed,
        (true, true) => Exit::Done,
    })
}

fn render(config: &Path, report: &CheckReport, style: Style) -> String {
    let mut text = String::new();
    let mut say = |label: &str, colour, messages: &[String]| {
        for message in messages {
            text.push_str(&format!("{} {}\n", style.paint(label, colour), clean(message)));
        }
    };
    say("error:", Colour::Red, &report.errors);
    say("warning:", Colour::Yellow, &report.warnings);
    if !report.lists.is_empty() {
        text.push_str(&lists(&report.lists).render(""));
    }
    if !report.online.is_empty() {
        text.push_str(&online(&report.online).render(""));
    }
    let config = config.display();
    let (errors, warnings) = (report.errors.len(), report.warnings.len());
    let warnings = counted(warnings, "warning");
    if errors > 0 {
        text.push_str(&format!("{config}: {}, {warnings}\n", counted(errors, "error")));
    } else {
        let (v4, v6) = (number(report.ipv4_prefixes), number(report.ipv6_prefixes));
        let failed = report.online.iter().filter(|asked| !asked.good).count();
        let online = match failed {
            0 => String::new(),
            _ => format!(", {} failed", counted(failed, "online test")),
        };
        text.push_str(&format!(
            "{config}: configuration OK, {warnings}{online}; {v4} IPv4 and {v6} IPv6 prefixes\n"
        ));
    }
    text
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// The results of the online tests, as a table.
fn online(asked: &[Asked]) -> Table {
    let columns = ["TEST", "NAME", "RESULT", "DETAIL"].map(|name| (name, Align::Left));
    let mut table = Table::new(columns);
    for one in asked {
        let result = if one.good { "OK" } else { "FAILED" }.to_owned();
        table.row([one.kind.clone(), one.name.clone(), result, one.detail.clone()]);
    }
    table
}

/// The list files and country databases as a table.
pub(super) fn lists(lists: &[ListStatus]) -> Table {
    let mut table = Table::new([
        ("LIST", Align::Left),
        ("CLASS", Align::Left),
        ("ENTRIES", Align::Right),
        ("SKIPPED", Align::Right),
    ]);
    for list in lists {
        let (entries, skipped) = (number(list.entries), number(list.skipped));
        table.row([list.source.clone(), list.class.clone(), entries, skipped]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(report: &CheckReport) -> String {
        render(Path::new("mxdp.toml"), report, Style { colour: false })
    }

    #[test]
    fn a_valid_configuration_is_summarised() {
        let report = CheckReport {
            warnings: vec!["b.txt:7: 192.0.2.0/25 is dead: a.txt:1 approves it".to_owned()],
            lists: vec![
                ListStatus {
                    source: "approved.txt".to_owned(),
                    class: "approved_ip".to_owned(),
                    entries: 12,
                    skipped: 0,
                    modified: None,
                },
                ListStatus {
                    source: "/var/lib/feeds/drop.txt".to_owned(),
                    class: "known_spam_source".to_owned(),
                    entries: 1_234_567,
                    skipped: 3,
                    modified: None,
                },
            ],
            ipv4_prefixes: 1_200_000,
            ipv6_prefixes: 34,
            ..CheckReport::default()
        };
        assert_eq!(
            text(&report),
            "\
warning: b.txt:7: 192.0.2.0/25 is dead: a.txt:1 approves it
LIST                     CLASS                ENTRIES  SKIPPED
approved.txt             approved_ip               12        0
/var/lib/feeds/drop.txt  known_spam_source  1,234,567        3
mxdp.toml: configuration OK, 1 warning; 1,200,000 IPv4 and 34 IPv6 prefixes
"
        );
    }

    #[test]
    fn every_error_is_shown() {
        let errors = vec!["mxdp.toml:3: unknown key `prots`".into(), "a.txt:1: `\x1b[2J`".into()];
        assert_eq!(
            text(&CheckReport { errors, ..CheckReport::default() }),
            "\
error: mxdp.toml:3: unknown key `prots`
error: a.txt:1: `\\u{1b}[2J`
mxdp.toml: 2 errors, no warnings
"
        );
    }
}
