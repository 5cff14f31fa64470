//! `cargo xtask`: set-up, build, run, test and bench of mxdp, one way each.
//!
//! People and continuous integration call the same commands. What a command needs and
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

use anyhow::Result;
use clap::Parser;
use sh::Workspace;

/// Set-up, build, run, test and bench of mxdp.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
enum Command {
    /// Fetch what is missing into target/: the eBPF toolchain.
    Setup {
        /// Fetch the test peers too.
        #[arg(long)]
        peers: bool,
    },
    /// Set up what is missing and build the workspace.
    Build {
        /// Build with optimisations, as packages are.
        #[arg(long)]
        release: bool,
    },
    /// Set up, build, and run mxdp on loopback with config/trial.toml (root).
    Run {
        /// Arguments for mxdp.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Set up, then run every check and test, or one file of tests/tests alone (root).
    Test {
        /// A file or folder of tests/tests, or a part of test names.
        filter: Option<String>,
    },
    /// Run the fuzz targets.
    Fuzz {
        /// The only target to run.
        target: Option<String>,
        /// Seconds for each target.
        // libFuzzer takes 0 for no bound.
        #[arg(long, default_value_t = fuzz::SECONDS, value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
    },
    /// Check the house rules that no compiler checks.
    Tidy {
        /// Write the table of rooms, the fingerprint of a new ABI, and a shorter ledger.
        #[arg(long)]
        write: bool,
    },
    /// Make a Debian package in target/package.
    Package {
        /// Package the development build.
        #[arg(long)]
        dev: bool,
    },
    /// Put the files of the package under a prefix (root).
    Install(package::Installation),
    /// Test the packet filter on emulated kernels of Debian 11 (refused), 12 and 13.
    Kernels {
        /// The releases of Debian whose kernels are tried; all of them by default.
        releases: Vec<String>,
    },
    /// Upgrade from a daemon of another commit to this one and back, under traffic (root).
    Upgrade {
        /// A tag or commit of git.
        revision: String,
    },
    /// Check licences and sources of all dependencies, and known vulnerabilities.
    Audit {
        /// Fail if the database of vulnerabilities cannot be fetched.
        #[arg(long)]
        advisories: bool,
    },
    /// Build the book of docs/ in target/book.
    Docs,
    /// Run a benchmark, or list them.
    Bench {
        /// The benchmark.
        name: Option<String>,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match Workspace::find().and_then(|workspace| run(&workspace, Command::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(workspace: &Workspace, command: Command) -> Result<()> {
    match command {
        Command::Setup { peers } => setup::run(workspace, peers),
        Command::Build { release } => run::build(workspace, release),
        Command::Run { arguments } => run::run(workspace, &arguments),
        Command::Test { filter } => test::run(workspace, filter.as_deref()),
        Command::Fuzz { target, seconds } => fuzz::run(workspace, target.as_deref(), seconds),
        Command::Tidy { write } => tidy::run(workspace, write),
        Command::Package { dev } => package::package(workspace, dev),
        Command::Install(installation) => package::install(workspace, &installation),
        Command::Kernels { releases } => kernels::run(workspace, &releases),
        Command::Upgrade { revision } => upgrade::run(workspace, &revision),
        Command::Audit { advisories } => audit::run(workspace, advisories),
        Command::Docs => docs::run(workspace),
        Command::Bench { name, arguments } => bench::run(workspace, name.as_deref(), &arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Command> {
        Command::try_parse_from(std::iter::once("xtask").chain(line.split_whitespace())).ok()
    }

    #[test]
    fn the_commands_take_what_is_documented() {
        for line in [
            "setup --peers",
            "build --release",
            "run -- --verbose",
            "test mail",
            "fuzz frames --seconds 60",
            "tidy",
            "tidy --write",
            "package --dev",
            "install --prefix /opt/mxdp --destdir /tmp/x --dev",
            "kernels bookworm trixie",
            "upgrade HEAD~1",
            "audit --advisories",
            "docs",
            "bench packet --seconds 3",
        ] {
            assert!(parse(line).is_some(), "{line}");
        }
        let fuzz = parse("fuzz frames --seconds 60");
        assert!(matches!(fuzz, Some(Command::Fuzz { target: Some(_), seconds: 60 })));
        assert!(
            matches!(parse("fuzz"), Some(Command::Fuzz { target: None, seconds }) if seconds == fuzz::SECONDS)
        );
    }

    #[test]
    fn anything_else_is_an_error() {
        for line in [
            "",
            "attach",
            "test a b",
            "fuzz a b",
            "fuzz --seconds",
            "fuzz --seconds x",
            "fuzz --seconds 0",
            "fuzz --quick",
            "upgrade",
            "install --prefix relative",
        ] {
            assert!(parse(line).is_none(), "{line}");
        }
    }
}
