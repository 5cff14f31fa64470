//! Starts, and the command line itself.

use std::net::TcpListener;

use mxdp_tests::daemon::{Home, wait_for};
use mxdp_tests::http::Http;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::peers::clients::said;

use super::{PORT, SITE, host, repository};

/// Kind: a start that can never work is named by a number, and tried for ever.
/// Source: "os error 98", exit 1, and a unit that retries.
#[test]
fn a_port_in_use_names_its_process_and_is_not_tried_again() {
    let own = std::process::id();
    for (address, more, key) in [
        ("127.0.0.1:25", "", "listen.smtp"),
        ("127.0.0.1:8025", "[web]\n", "web.listen"),
        (
            "127.0.0.1:587",
            "[relay]\nlisten = [\"127.0.0.1:587\"]\nbackend = \"main\"\n[[customer]]\nname = \"a\"\n\
             networks = [\"192.0.2.0/24\"]\ndomains = [\"a.example\"]\n",
            "relay.listen",
        ),
    ] {
        let host = Host::new();
        let _holder = host.namespace.run(|| TcpListener::bind(address).expect("a listener"));
        let rest = domain("example.org", "main", "") + &backend("main", PORT, "") + more;
        host.configure("", &rest);
        let config = host.home.path("mxdp.toml").display().to_string();
        let output = host.home.mxdp(Some(&host.namespace), &["run", "-c", &config]).output();
        let output = output.expect("mxdp starts");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&format!("{key}: cannot listen on {address}: ")), "{said}");
        assert!(said.contains(&format!("(pid {own}) listens there")), "{said}");
        assert!(said.contains("\"In front of Postfix\"") && !said.contains("os error"), "{said}");
    }
    assert!(repository("README.md").contains("\n## In front of Postfix\n"));
    let unit = repository("config/systemd/mxdp.service");
    let never = unit.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus="));
    assert!(never.is_some_and(|codes| codes.split(' ').any(|code| code == "3")), "{unit}");
}

/// Kind: the shell offers what cannot stand there.
/// Source: completions of `--status`, `--reason` and `--stage` were names of files.
#[test]
fn completions_offer_the_values_that_there_are() {
    let home = Home::new();
    home.write("a-file-in-this-folder", "");
    let script = home.path("mxdp.bash");
    let output = home.mxdp(None, &["completions", "bash"]);
    // `completions` takes no socket.
    let program = output.get_program().to_owned();
    let output = std::process::Command::new(program).args(["completions", "bash"]).output();
    std::fs::write(&script, output.expect("mxdp starts").stdout).expect("written");
    let complete = |words: &[&str]| {
        let line: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let code = format!(
            "cd {folder}; source {script}; COMP_WORDS=({line}); COMP_CWORD={last}; \
             _mxdp mxdp \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            folder = home.path("").display(),
            script = script.display(),
            line = line.join(" "),
            last = words.len() - 1
        );
        let output = std::process::Command::new("bash").args(["-c", &code]).output();
        let output = output.expect("bash starts");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    for (option, value) in [
        ("--status", "temporary"),
        ("--stage", "reputation"),
        ("--reason", "blocked_ip"),
        ("--direction", "outgoing"),
    ] {
        let offered = complete(&["mxdp", "traffic", "blocked", option, ""]);
        assert!(offered.iter().any(|one| one == value), "{option}: {offered:?}");
        assert!(!offered.iter().any(|one| one.contains("a-file")), "{option}: {offered:?}");
    }
    for words in [
        &["mxdp", "traffic", "blocked", "--sender", ""][..],
        &["mxdp", "traffic", "blocked", "--since", ""],
        &["mxdp", "block", "add", "192.0.2.1", "--for", ""],
        &["mxdp", "explain", "--rcpt", ""],
    ] {
        let offered = complete(words);
        assert!(!offered.iter().any(|one| one.contains("a-file")), "{words:?}: {offered:?}");
    }
    let offered = complete(&["mxdp", "explain", "--tls", ""]);
    assert!(
        ["none", "1.2", "1.3"].iter().all(|one| offered.iter().any(|is| is == one)),
        "{offered:?}"
    );
    // Where a file is meant, files are offered.
    let offered = complete(&["mxdp", "check", "--config", ""]);
    assert!(offered.iter().any(|one| one.contains("a-file")), "{offered:?}");
}

/// Kind: the shortest way to say something is not understood.
/// Source: `mxdp block 192.0.2.1`: "unrecognized subcommand".
#[test]
fn an_address_alone_is_added() {
    let (host, _sink) = host("");
    let _daemon = host.start();
    for (words, list) in [
        (&["block", "203.0.113.7"][..], "block"),
        (&["approve", "203.0.113.8/32", "--note", "a customer"], "approve"),
        (&["temp", "203.0.113.9", "--for", "1h"], "temp"),
    ] {
        let output = host.home.run(words);
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        let listed = host.home.json(&[list, "list"]);
        let address = words[1].trim_end_matches("/32");
        assert_eq!(listed[0]["prefix"], format!("{address}/32"), "{listed}");
    }
    let output = host.home.run(&["block", "203.0.113.300"]);
    assert!(said(&output).contains("expected an address, or a network"), "{}", said(&output));
    let output = host.home.run(&["block", "lits"]);
    assert!(said(&output).contains("unrecognized subcommand"), "{}", said(&output));
}

/// Kind: a count is of what was, and not of what is.
/// Source: lifted temporary blocks were counted for up to a minute.
#[test]
fn a_lifted_temporary_block_is_not_counted() {
    let (host, _sink) = host("");
    let _daemon = host.start();
    let http = Http::new(&host.namespace, SITE, None);
    let counts = || {
        let status = host.home.json(&["status"])["temporary"]["held"].clone();
        let metric = http.get("/metrics").body;
        let metric = metric.lines().find_map(|line| line.strip_prefix("mxdp_temporary_blocks "));
        (status.as_u64(), metric.and_then(|number| number.parse::<u64>().ok()))
    };
    let is = |count| assert_eq!(counts(), (Some(count), Some(count)));
    is(0);
    for address in ["192.0.2.17", "192.0.2.18", "192.0.2.18", "2001:db8::1", "2001:db8::2"] {
        host.home.json(&["temp", "add", address, "--for", "1h"]);
    }
    // The same address, and the same /64, are one.
    is(3);
    host.home.json(&["temp", "remove", "192.0.2.17"]);
    is(2);
    host.home.json(&["temp", "remove", "2001:db8::9"]);
    is(1);
    host.home.json(&["temp", "add", "192.0.2.19", "--for", "1s"]);
    wait_for("an expired block is not counted", || counts() == (Some(1), Some(1)));
    let page = http.get("/").body;
    assert!(page.contains("<dt>Temporary blocks</dt><dd>1</dd>"), "{page}");
}

/// Kind: features of the trial are not announced.
/// Source: the trial printed no address of its console.
#[test]
fn the_trial_says_where_its_console_is() {
    let host = Host::new();
    let run = std::path::Path::new("/run").join(mxdp_tests::netns::unique("mxdp-field"));
    let text = repository("config/trial.toml");
    let (head, _) = text.split_once("[control]").expect("the trial's paths");
    for inner in ["lists"] {
        let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(inner);
        std::fs::create_dir(host.home.path(inner)).expect("a folder");
        for file in std::fs::read_dir(from).expect("lists").flatten() {
            std::fs::copy(file.path(), host.home.path(inner).join(file.file_name()))
                .expect("a copy");
        }
    }
    let paths = format!(
        "[control]\nsocket = \"{}\"\n[state]\nfolder = \"{}\"\n[web]\nlisten = [\"127.0.0.1:8031\"]\n",
        host.home.path("mxdp.sock").display(),
        run.display()
    );
    host.home.write("mxdp.toml", format!("{head}{paths}"));
    let daemon = host.home.start_by("trial", &host.namespace);
    wait_for("the console's address", || host.home.log().contains("http://127.0.0.1:8031/"));
    drop(daemon);
    let readme = repository("README.md");
    // The paragraph must say how long a first start takes; the figure changes with each
    // measurement.
    let first_start = readme.split("\n\n").find(|part| part.starts_with("The first start"));
    let first_start = first_start.expect("a paragraph on the first start");
    assert!(first_start.contains("minutes on two cores"), "{first_start}");
}
