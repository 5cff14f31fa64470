//! The reference pages of `docs/`, generated from the code: configuration, reasons, replies,
//! metrics, API and command line. A test compares the committed pages with these.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use clap::{Arg, Command};
use filter_common::reason::{Disposition, Reason as FrameReason};

use super::error::CliError;
use super::help;
use crate::smtp::refusal::Reason;
use crate::{config, web};

/// Writes every generated page into a folder such as `docs`, and returns their number.
pub(super) fn write(folder: &Path) -> Result<usize, CliError> {
    let failed = |error| CliError::system(format!("{}: {error}", folder.display()));
    fs::create_dir_all(folder.join("reference")).map_err(failed)?;
    let pages = pages()?;
    for (name, text) in &pages {
        fs::write(folder.join(name), text).map_err(failed)?;
    }
    Ok(pages.len())
}

/// The generated pages by their paths in `docs/`.
fn pages() -> Result<Vec<(&'static str, String)>, CliError> {
    Ok(vec![
        ("configuration.md", config::reference::markdown()),
        ("reference/command-line.md", command_line()),
        ("reference/reasons.md", reasons()),
        ("reference/replies.md", replies()),
        ("reference/metrics.md", metrics()?),
        ("reference/api.md", api()),
    ])
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|").replace('<', "&lt;").replace('>', "&gt;")
}

fn reasons() -> String {
    let mut text = String::from(
        "# Reasons\n\n\
         A reason is the code for why a frame or a recipient was passed or stopped. The mail log, the \
         API, the metrics and the log use the same codes.\n\n\
         ## Packet filter\n\n\
         Every frame on a filtered interface is counted under exactly one reason. The three \
         reasons that end with `_monitor` are counted in addition to it.\n\n\
         | reason | frame | meaning |\n|---|---|---|\n",
    );
    for reason in FrameReason::ALL {
        let verdict = match reason.disposition() {
            Disposition::Pass => "passes",
            Disposition::Drop => "is dropped",
        };
        // Writing into a string cannot fail.
        _ = writeln!(text, "| `{}` | {verdict} | {} |", reason.name(), cell(reason.meaning()));
    }
    text.push_str(
        "\n## SMTP\n\n\
         A refused recipient has one of these reasons; `accepted` is the reason of one that was \
         delivered. [Reply texts](replies.md) lists what the client is told.\n\n\
         | reason | stage | code | meaning |\n|---|---|---|---|\n",
    );
    for reason in Reason::ALL {
        let (name, stage, meaning) = (reason.name(), reason.stage().name(), reason.meaning());
        _ = writeln!(text, "| `{name}` | {stage} | {} | {} |", reason.code(), cell(meaning));
    }
    text
}

fn replies() -> String {
    let mut text = String::from(
        "# Reply texts\n\n\
         These are the replies with which mxdp refuses something. Where the refusal is about an \
         address, a domain or a size, that comes before the text. After the text come `; reference` \
         and the reference that `mxdp traffic show` finds. The codes and texts of reputation can be \
         configured (`reputation.standard.code`, `reputation.standard.text` and the same keys of \
         `reputation.dynamic`). A refusal by the mail server (`backend_refused`) is passed on in \
         its own words.\n\n\
         | code | text | reason |\n|---|---|---|\n",
    );
    let mut rows = BTreeMap::new();
    for reason in Reason::ALL {
        let (enhanced, wording) = reason.reply_text();
        let code = format!("{} {enhanced}", reason.code());
        rows.insert((code, reason.name()), wording);
    }
    for ((code, name), wording) in rows {
        _ = writeln!(text, "| {code} | {} | `{name}` |", cell(wording));
    }
    text
}

fn metrics() -> Result<String, CliError> {
    let mut text = String::from(
        "# Metrics\n\n\
         The web console serves these metrics at `/metrics`, in the text format of Prometheus, to \
         clients whose token has the right to read. The metrics of SMTP are there only if mxdp \
         serves SMTP.\n\n\
         | metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    let all = web::metrics_sample().map_err(CliError::system)?;
    let mut lines = all.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let kind = lines.next().and_then(|line| line.rsplit(' ').next()).unwrap_or_default();
        let sample = lines.peek().and_then(|line| line.split_once('{')).map(|(_, rest)| rest);
        let names = sample.unwrap_or_default().split('=').filter_map(|part| {
            let name = part.rsplit([',', '{']).next().unwrap_or_default();
            (!name.contains(['"', '}']) && !name.is_empty()).then(|| format!("`{name}`"))
        });
        let names = names.collect::<Vec<_>>().join(", ");
        _ = writeln!(text, "| `{name}` | {kind} | {names} | {} |", cell(help));
    }
    Ok(text)
}

fn api() -> String {
    format!(
        "# API\n\n\
         The web console serves an HTTP API below `/api/v1`. [openapi.json](../openapi.json) \
         describes it; a running mxdp serves the same document at `/openapi.json`. Each request \
         needs a token:\n\n\
         ```sh\n\
         mxdp token anna --rights write\n\
         curl -H 'Authorization: Bearer TOKEN' \
         'http://127.0.0.1:8025/api/v1/traffic?type=blocked&since=1h'\n\
         ```\n\n\
         {}\n\
         An error has a status of 400 or above and the body `{{\"error\": {{\"kind\": …, \
         \"message\": …}}}}`. Each change is in the audit trail (`mxdp audit`) with the name of \
         the token.\n",
        web::endpoints_reference()
    )
}

fn command_line() -> String {
    let mut command = help::command().disable_help_subcommand(true);
    command.build();
    let mut text = String::from(
        "# Command line\n\n\
         The same text is in the manual pages (`mxdp man`) and in `mxdp COMMAND --help`.\n",
    );
    describe(&command, "", &mut text);
    text
}

fn describe(command: &Command, words: &str, text: &mut String) {
    let title = format!("mxdp {words}");
    _ = writeln!(text, "\n## {}\n", title.trim_end());
    let about = command.get_long_about().or_else(|| command.get_about());
    if let Some(about) = about {
        for paragraph in about.to_string().split("\n\n") {
            _ = writeln!(text, "{}\n", paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    let usage = command.clone().render_usage().to_string();
    _ = writeln!(text, "```text\n{}\n```", usage.trim_start_matches("Usage: "));
    let is_shown = |argument: &&Arg| {
        let own = !argument.is_global_set() || words.is_empty();
        own && !argument.is_hide_set() && !["help", "version"].contains(&argument.get_id().as_str())
    };
    let arguments: Vec<_> = command.get_arguments().filter(is_shown).collect();
    if !arguments.is_empty() {
        text.push_str("\n| argument | meaning |\n|---|---|\n");
    }
    for argument in arguments {
        _ = writeln!(
            text,
            "| `{}` | {} |",
            argument.to_string().replace('|', "\\|"),
            meaning(argument)
        );
    }
    if let Some(page) = help::page(words) {
        text.push_str("\n```sh\n");
        for (purpose, example) in page.examples {
            _ = writeln!(text, "# {purpose}\n{example}");
        }
        text.push_str("```\n\nExit codes:\n\n");
        for exit in page.exits {
            _ = writeln!(text, "- {}: {}", *exit as u8, exit.meaning());
        }
    }
    for inner in command.get_subcommands() {
        describe(inner, format!("{words} {}", inner.get_name()).trim_start(), text);
    }
}

/// The help of an argument, its default and its values.
fn meaning(argument: &Arg) -> String {
    let help = argument.get_long_help().or_else(|| argument.get_help());
    let mut text =
        help.map(|help| cell(&help.to_string().replace("\n\n", ". "))).unwrap_or_default();
    if !argument.get_action().takes_values() {
        return text;
    }
    let values = argument.get_possible_values();
    let values: Vec<_> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
    if !values.is_empty() {
        _ = write!(text, "; values: {}", values.join(", "));
    }
    let default = argument.get_default_values();
    let default: Vec<_> = default.iter().map(|value| value.to_string_lossy()).collect();
    if !default.is_empty() {
        _ = write!(text, "; default: `{}`", default.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use clap::FromArgMatches as _;

    use super::*;
    use crate::cli::args::{Arguments, with_add};

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn the_committed_pages_are_up_to_date() {
        for (name, text) in pages().unwrap() {
            let committed = fs::read_to_string(repository().join("docs").join(name)).unwrap();
            assert!(
                committed == text,
                "docs/{name} differs from the code; generate it again: \
                 `cargo run --bin mxdp -- man --reference --dir docs`"
            );
        }
    }

    /// The words of a shell line, up to its end, a comment, a pipe or a redirection.
    fn words(line: &str) -> Vec<OsString> {
        let mut words = Vec::new();
        // An empty pair of quotes is a word too.
        let mut word: Option<String> = None;
        let mut quote = None;
        for letter in line.chars() {
            match (quote, letter) {
                (Some(mark), letter) if mark == letter => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(letter);
                    word.get_or_insert_default();
                }
                (None, ' ') => words.extend(word.take()),
                (None, '#') if word.is_none() => break,
                (None, '|' | '<' | '>' | '&' | ';') => break,
                (_, letter) => word.get_or_insert_default().push(letter),
            }
        }
        words.extend(word);
        words.into_iter().map(OsString::from).collect()
    }

    fn documents(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                documents(&path, into);
            } else if path.extension().is_some_and(|kind| kind == "md") {
                into.push(path);
            }
        }
    }

    #[test]
    fn every_command_of_mxdp_in_a_document_parses() {
        let mut files = vec![repository().join("README.md")];
        documents(&repository().join("docs"), &mut files);
        let mut count = 0;
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let mut fence = None;
            for line in text.lines() {
                if let Some(kind) = line.strip_prefix("```") {
                    fence = if fence.is_none() { Some(kind) } else { None };
                    continue;
                }
                let code = match fence {
                    Some("sh") => line,
                    None => line.strip_prefix("    ").unwrap_or_default(),
                    Some(_) => continue,
                };
                let code = code.trim_start_matches("$ ").trim_start_matches("sudo ");
                if !code.starts_with("mxdp ") || code.contains('…') {
                    continue;
                }
                let parsed = help::command()
                    .try_get_matches_from(with_add(words(code)))
                    .and_then(|matches| Arguments::from_arg_matches(&matches));
                assert!(parsed.is_ok(), "{}: {code}: {:?}", file.display(), parsed.err());
                count += 1;
            }
        }
        assert!(count > 30, "{count} commands are found");
    }
}
