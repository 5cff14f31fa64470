//! The oldest kernel: one below it is refused by its name, and nothing is left behind.

use std::path::PathBuf;
use std::process::{Command, Output};

use mxdp::io::minimum_kernel;
use mxdp_tests::daemon::Home;
use mxdp_tests::files::files_below;
use mxdp_tests::netns::Namespace;
use mxdp_tests::peers;

/// What an output has of words.
fn words(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// `mxdp VERB` on a kernel that is too old: this one, if it is, or else one that calls
/// itself 2.6, as it does to processes that ask for that (personality(2), `UNAME26`).
fn on_an_old_kernel(home: &Home, namespace: &Namespace, verb: &str) -> Output {
    let mut command = if minimum_kernel::too_old().is_some() {
        namespace.command(peers::mxdp())
    } else {
        let mut command = namespace.command("setarch");
        command.arg("--uname-2.6").arg(peers::mxdp());
        command
    };
    command.args([verb, "-c"]).arg(home.path("mxdp.toml")).env("NO_COLOR", "1");
    command.output().expect("mxdp starts")
}

fn home() -> Home {
    let home = Home::new();
    home.configure("interfaces = [\"lo\"]\nmode = \"generic\"\nports = [25]", "");
    home
}

#[test]
fn a_kernel_below_the_floor_is_refused_by_its_name() {
    let namespace = Namespace::new("mxf");
    let home = home();
    let outcome = on_an_old_kernel(&home, &namespace, "run");
    let text = words(&outcome);
    assert_eq!(outcome.status.code(), Some(1), "{text}");
    assert!(text.contains("this kernel is Linux "), "{text}");
    assert!(text.contains("the filter needs Linux 6.1 or newer"), "{text}");
    println!("{}", text.trim());
    assert_eq!(files_below(&home.pins()), Vec::<PathBuf>::new(), "it left pins");
    assert!(!home.path("mxdp.sock").exists(), "it left its socket");

    // Where a configuration is checked it may not be used, so there it is a warning.
    let outcome = on_an_old_kernel(&home, &namespace, "check");
    let text = words(&outcome);
    assert_eq!(outcome.status.code(), Some(0), "{text}");
    assert!(text.contains("warning: this kernel is Linux "), "{text}");
}

#[test]
fn a_kernel_at_or_above_the_floor_is_not_complained_of() {
    let home = home();
    let mut command = Command::new(peers::mxdp());
    command.args(["check", "-c"]).arg(home.path("mxdp.toml")).env("NO_COLOR", "1");
    let text = words(&command.output().expect("mxdp starts"));
    assert!(text.contains("configuration OK, no warnings"), "{text}");
}
