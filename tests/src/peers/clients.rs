//! Real clients: swaks, msmtp, Python's smtplib, smtp-source.

use std::ffi::OsString;
use std::process::{Command, Output, Stdio};

use super::{environment, find, peers};
use crate::netns::Namespace;

/// `swaks` with arguments, in a namespace.
#[must_use]
pub fn swaks(namespace: &Namespace, arguments: &[&str]) -> Output {
    let root = peers().expect("target/peers; run `cargo xtask test`");
    run(namespace
        .command(root.join("usr/bin/perl"))
        .arg(find("swaks"))
        .args(arguments)
        .env("PERL5LIB", perl_libraries()))
}

/// Where Perl's modules are, as `PERL5LIB` has it.
#[must_use]
pub fn perl_libraries() -> OsString {
    let root = peers().expect("target/peers; run `cargo xtask test`");
    let folders = [
        "usr/share/perl/5.36",
        "usr/lib/x86_64-linux-gnu/perl/5.36",
        "usr/share/perl5",
        "usr/lib/x86_64-linux-gnu/perl5/5.36",
        "usr/lib/x86_64-linux-gnu/perl-base",
    ];
    let paths: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    std::env::join_paths(paths).expect("no colon in the paths")
}

/// A Python program, in a namespace.
#[must_use]
pub fn python(namespace: &Namespace, program: &str, arguments: &[&str]) -> Output {
    run(namespace.command(find("python3.11")).args(["-c", program]).args(arguments))
}

/// `msmtp`, with a message on standard input.
#[must_use]
pub fn msmtp(namespace: &Namespace, arguments: &[&str], message: &str) -> Output {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), message).expect("written");
    let input = std::fs::File::open(file.path()).expect("the file");
    let mut command = namespace.command(find("msmtp"));
    command.args(["-C", "/dev/null"]).args(arguments).stdin(input);
    command.envs(environment()).output().expect("msmtp starts")
}

/// `smtp-source` with arguments, in a namespace.
#[must_use]
pub fn smtp_source(namespace: &Namespace, arguments: &[&str]) -> Output {
    run(namespace.command(find("smtp-source")).args(arguments))
}

fn run(command: &mut Command) -> Output {
    command.envs(environment()).stdin(Stdio::null()).output().expect("the client starts")
}

/// Both outputs, for messages.
#[must_use]
pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}
