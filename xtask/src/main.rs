//! `cargo xtask`: set-up, build, run, test and bench of mxdp, one way each.
//!
//! People and continuous integration call the same verbs. What a verb needs and
//! the host lacks is fetched into `target/` first; the host itself is left alone.

mod audit;
mod bench;
mod docs;
mod ebpf;
mod fuzz;
mod kernels;
mod package;
mod run;
mod setup;
mod sh;
mod test;
mod tidy;
mod tools;
mod upgrade;

use std::process::ExitCode;

use anyhow::{Result, bail};
use sh::Workspace;

/// One row a verb: its name, its arguments, what it does, and its code.
type Verb = (&'static str, &'static str, &'static str, fn(&Workspace, &[String]) -> Result<()>);

const VERBS: &[Verb] = &[
    (
        "setup",
        "[--peers]",
        "fetch what is missing into target/: the eBPF toolchain; --peers: the test peers too",
        setup::verb,
    ),
    ("build", "[--release]", "set up what is missing and build the workspace", run::build),
    (
        "run",
        "[-- ARGS]",
        "set up, build, and run mxdp on loopback with config/trial.toml (root)",
        run::verb,
    ),
    (
        "test",
        "[FILTER]",
        "set up, then every check and test there is, or one file of tests/tests alone (root)",
        test::verb,
    ),
    (
        "fuzz",
        "[TARGET] [--seconds N]",
        "run the fuzz targets, 5 seconds each or so long",
        fuzz::verb,
    ),
    ("tidy", "", "the house rules that no compiler checks", tidy::verb),
    (
        "package",
        "[--dev]",
        "make a Debian package in target/package; --dev: of the development build",
        package::verb,
    ),
    (
        "install",
        "[--prefix DIR] [--destdir DIR] [--dev]",
        "put the same files under /usr/local, or another prefix (root)",
        package::install,
    ),
    (
        "kernels",
        "[RELEASE...]",
        "the packet filter on the kernels of Debian 11 (refused), 12 and 13, emulated",
        kernels::verb,
    ),
    (
        "upgrade",
        "REV",
        "from a daemon of another commit to this one and back, under traffic (root)",
        upgrade::verb,
    ),
    (
        "audit",
        "[--advisories]",
        "licences and sources of all dependencies, and known vulnerabilities if they can be had",
        audit::verb,
    ),
    ("docs", "", "the book of docs/, made in target/book", docs::verb),
    ("bench", "[NAME [ARGS]]", "run a benchmark, or list them", bench::verb),
    ("help", "", "this text", help),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let workspace = Workspace::find()?;
    let (name, rest) = match arguments {
        [] => return help(&workspace, &[]),
        [name, rest @ ..] => (name.as_str(), rest),
    };
    if matches!(name, "-h" | "--help") {
        return help(&workspace, &[]);
    }
    match VERBS.iter().find(|(verb, ..)| *verb == name) {
        Some((.., code)) => code(&workspace, rest),
        None => bail!("no verb '{name}'; there are: {}", names()),
    }
}

fn names() -> String {
    VERBS.iter().map(|(verb, ..)| *verb).collect::<Vec<_>>().join(", ")
}

fn help(_: &Workspace, _: &[String]) -> Result<()> {
    println!("cargo xtask VERB\n");
    for (verb, arguments, meaning, _) in VERBS {
        println!("  {:<27} {meaning}", format!("{verb} {arguments}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_verb_is_an_error_that_lists_the_known_ones() {
        let error = dispatch(&["attach".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("'attach'") && error.contains("setup, build, run, test"), "{error}");
    }
}
