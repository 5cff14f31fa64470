//! Completion scripts and manual pages, generated from the arguments; tokens.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::args::{Arguments, TokenRights};
use super::documents;
use super::error::{CliError, Exit};
use super::help::page;
use super::output::Output;
use crate::config::reference::Block;
use crate::{config, web};

/// Prints the completion script of a shell.
pub(super) fn completions(shell: Shell, output: &mut Output) -> Result<Exit, CliError> {
    // Into memory first, because the generator panics if it cannot write.
    let mut script = Vec::new();
    let mut command = without_files(Arguments::command());
    clap_complete::generate(shell, &mut command, "mxdp", &mut script);
    output.bytes(&script)?;
    Ok(Exit::Done)
}

/// The command line, with file names completed only for values that are paths.
fn without_files(command: Command) -> Command {
    let command = command.mut_args(|argument| match argument.get_value_hint() {
        // Paths have their hint where they are declared.
        ValueHint::Unknown if argument.get_action().takes_values() => {
            argument.value_hint(ValueHint::Other)
        }
        _ => argument,
    });
    command.mut_subcommands(without_files)
}

/// Prints mxdp(1), or writes every page into `folder`.
pub(super) fn man(folder: Option<&Path>, output: &mut Output) -> Result<Exit, CliError> {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = folder else {
        output.bytes(&render(&command, "")?)?;
        return Ok(Exit::Done);
    };
    let failed = |error| CliError::system(format!("{}: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(failed)?;
    let written = write_all(&command, "", folder).map_err(failed)? + 1;
    fs::write(folder.join("mxdp.toml.5"), configuration_page()).map_err(failed)?;
    output.line(&format!("wrote {written} pages to {}", folder.display()))?;
    Ok(Exit::Done)
}

/// Prints the reference of the configuration, or writes every generated page of the
/// documentation into `folder`.
pub(super) fn reference(folder: Option<&Path>, output: &mut Output) -> Result<Exit, CliError> {
    let Some(folder) = folder else {
        output.bytes(config::reference::markdown().as_bytes())?;
        return Ok(Exit::Done);
    };
    let written = documents::write(folder)?;
    output.line(&format!("wrote {written} pages to {}", folder.display()))?;
    Ok(Exit::Done)
}

/// Creates a token. It is stored nowhere.
pub(super) fn token(
    name: &str,
    rights: TokenRights,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let token = web::new_token().map_err(CliError::system)?;
    let sha256 = web::sha256_hex(&token);
    let rights = match rights {
        TokenRights::Read => "read",
        TokenRights::Write => "write",
    };
    if output.json {
        let made = serde_json::json!({
            "name": name, "rights": rights, "token": token, "sha256": sha256,
        });
        output.object(&made)?;
        return Ok(Exit::Done);
    }
    let name = toml::Value::String(name.to_owned());
    output.line(&format!("Token (it is shown only once; give it to its owner):\n\n  {token}\n"))?;
    output.line("Add this to the configuration and run `mxdp reload`:\n")?;
    output.line(&format!(
        "  [[web.tokens]]\n  name = {name}\n  rights = \"{rights}\"\n  sha256 = \"{sha256}\""
    ))?;
    Ok(Exit::Done)
}

fn write_all(command: &Command, words: &str, folder: &Path) -> io::Result<usize> {
    let name = format!("mxdp {words}").trim_end().replace(' ', "-");
    fs::write(folder.join(format!("{name}.1")), render(command, words)?)?;
    let mut written = 1;
    for inner in command.get_subcommands() {
        let words = format!("{words} {}", inner.get_name());
        written += write_all(inner, words.trim_start(), folder)?;
    }
    Ok(written)
}

/// mxdp.toml(5).
fn configuration_page() -> String {
    let mut roff = Roff::new();
    let version = format!("mxdp {}", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["mxdp.toml", "5", "", version.as_str(), "mxdp"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("mxdp.toml - configuration of mxdp(1)")]);
    roff.control("SH", ["DESCRIPTION"]);
    for block in config::reference::manual() {
        match block {
            Block::Section(title) => _ = roff.control("SH", [title.as_str()]),
            Block::Text(text) => {
                roff.control("PP", []);
                roff.text([roman(text)]);
            }
            Block::Key { name, values, meaning } => {
                roff.control("TP", []);
                roff.text([bold(name)]);
                roff.text([italic(values)]);
                roff.control("br", []);
                roff.text([roman(meaning)]);
            }
        }
    }
    roff.to_roff()
}

fn render(command: &Command, words: &str) -> io::Result<Vec<u8>> {
    let version = format!("mxdp {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(version).manual("mxdp");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(page) = page(words) {
        let mut roff = Roff::new();
        roff.control("SH", ["EXAMPLES"]);
        for (purpose, example) in page.examples {
            roff.control("TP", []);
            roff.text([roman(*purpose)]);
            roff.text([bold(*example)]);
        }
        roff.control("SH", ["EXIT STATUS"]);
        for exit in page.exits {
            roff.control("TP", []);
            roff.text([bold((*exit as u8).to_string())]);
            roff.text([roman(exit.meaning())]);
        }
        roff.to_writer(&mut text)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::help::PAGES;

    #[test]
    fn every_command_has_a_manual_page() {
        let folder = tempfile::tempdir().unwrap();
        let pages = folder.path().join("man1");
        let mut output = Output::captured(false);
        man(Some(&pages), &mut output).unwrap();
        let expected = format!("wrote {} pages to {}\n", PAGES.len() + 1, pages.display());
        assert_eq!(output.captured_text(), expected);
        for page in PAGES {
            let name = format!("mxdp {}.1", page.command).replace(" .", ".").replace(' ', "-");
            let text = fs::read_to_string(pages.join(&name)).unwrap();
            for heading in [
                ".SH NAME",
                ".SH SYNOPSIS",
                ".SH DESCRIPTION",
                ".SH EXAMPLES",
                ".SH \"EXIT STATUS\"",
            ] {
                assert_eq!(text.matches(heading).count(), 1, "{name}: {heading}\n{text}");
            }
        }
    }

    #[test]
    fn the_configuration_has_a_manual_page() {
        let text = configuration_page();
        for part in [".SH DESCRIPTION", ".SH \"THE OUTGOING RELAY\"", "\\fBfilter.mode\\fR"] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains('`'), "{text}");
    }

    #[test]
    fn every_shell_has_completions() {
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
            let mut output = Output::captured(false);
            completions(shell, &mut output).unwrap();
            assert!(output.captured_text().contains("lookup"), "{shell}");
        }
    }
}
