//! Files and directories of recipients, and lists of senders.

use std::fs;
use std::process::Output;

use mxdp_tests::daemon::wait_for;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::peers::slapd::Slapd;
use serde_json::Value;

/// A host whose domain example.org has its recipients in these files, and its senders by
/// this section.
fn host(recipients: &str, senders: &str) -> Host {
    let host = Host::new();
    let keys = format!("recipients = [\"{recipients}\"]");
    let rest = [domain("example.org", "main", &keys), backend("main", 2525, "")].concat();
    host.configure("", &format!("{senders}\n{rest}\n[reload]\nwatch = false\n"));
    host
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn config(host: &Host) -> String {
    host.home.path("mxdp.toml").display().to_string()
}

/// The output of `mxdp check`, which must find no error.
#[track_caller]
fn is_good(host: &Host) -> String {
    let output = host.home.run(&["check", "-c", &config(host)]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    said(&output)
}

/// `mxdp check` must find an error with these words.
#[track_caller]
fn is_bad(host: &Host, words: &str) {
    let output = host.home.run(&["check", "-c", &config(host)]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains(words), "`{words}` is missing in: {}", said(&output));
}

/// What becomes of a message, by the files or by the daemon.
fn explain(host: &Host, live: bool, from: &str, to: &str) -> Value {
    let config = config(host);
    let by: &[&str] = if live { &["--live"] } else { &["-c", &config] };
    let envelope = ["--ip", "192.0.2.1", "--from", from, "--rcpt", to];
    host.home.json(&[&["explain"], by, &envelope].concat())
}

/// The reason for which a recipient is refused by the files; empty where it is not.
fn refused(host: &Host, to: &str) -> String {
    reason(&explain(host, false, "a@example.net", to))
}

fn reason(explained: &Value) -> String {
    explained["decided_by"].as_str().unwrap_or_default().to_owned()
}

/// Kind: valid recipients that a file names are lost without a word (EnergyPlus#3801,
/// validator.js#940).
#[test]
fn nothing_in_a_file_of_recipients_is_passed_over() {
    let cases: [(&str, &[u8]); 11] = [
        ("r.txt", b"bob@example.org ann@example.org\n"),
        ("r.txt", b"bob@example.org,ann@example.org; \n"),
        ("r.txt", b"bob@example.org\rann@example.org\r"),
        ("r.txt", b"\xef\xbb\xbfbob@example.org\r\nann@example.org Ann\r\n"),
        ("r.csv", b"name,mail\rBob,bob@example.org\rAnn,ann@example.org\r"),
        ("r.csv", b"mail\n\"bob@example.org ann@example.org\"\n"),
        ("r.csv", b"sep=;\r\nName;E-Mail\r\nBob, jr;bob@example.org\r\nAnn;ann@example.org\r\n"),
        ("r.ldif", b"dn: a\rmail: bob@example.org\r\rdn: b\rmail: ann@example.org\r"),
        ("r.csv", b"name|email\nBob|mailto:bob@example.org\nAnn|ann@example.org\n"),
        ("r.csv", b"id;mail\n#1;bob@example.org\n# 2, x@y.example\n#3;ann@example.org\n"),
        ("r.ldif", b"dn: a\nmail: mailto:bob@example.org\nmail: smtp:ann@example.org\n"),
    ];
    for (name, text) in cases {
        let host = host(name, "");
        host.home.write(name, text);
        is_good(&host);
        for recipient in ["bob@example.org", "ann@example.org"] {
            assert_eq!(refused(&host, recipient), "", "{recipient} of {text:?}");
        }
        assert_eq!(refused(&host, "eve@example.org"), "recipient", "{text:?}");
    }
}

/// Kind: what cannot be read is an error with its line, and what nobody sees is named
/// (validator.js#940).
#[test]
fn what_is_not_understood_is_an_error_with_its_line() {
    let cases = [
        ("r.txt", "bob@example.org\n\u{feff}ann@example.org\n", "r.txt:2: ", "U+FEFF"),
        ("r.txt", "ann\u{200b}@example.org\n", "r.txt:1: ", "U+200B ZERO WIDTH SPACE"),
        ("r.txt", "ann@example.org\u{a0}\n", "r.txt:1: ", "U+00A0 NO-BREAK SPACE"),
        ("r.txt", "bob@example.org or ann@example.org\n", "r.txt:1: ", "one address a line"),
        ("r.csv", "mail\nann\u{200b}@example.org\n", "r.csv:2: ", "U+200B ZERO WIDTH SPACE"),
        ("r.csv", "mail\nann\u{ad}@example.org\n", "r.csv:2: ", "U+00AD SOFT HYPHEN"),
        ("r.csv", "a,b\nbob@example.org,x@y.example\n", "r.csv:2: ", "give the table a header"),
        ("r.csv", "1,bob@example.org,x@y.example\n", "r.csv:1: ", "give the table a header"),
        ("r.csv", "name;mail\nAnn,ann@example.org\n", "r.csv:2: ", "the header names"),
        ("r.ldif", "dn: a\nmail: ann\u{200b}@example.org\n", "r.ldif:2: ", "U+200B"),
        ("r.ldif", "dn: a\n\u{feff}mail: ann@example.org\n", "r.ldif:2: ", "U+FEFF"),
        ("r.txt", "<html><body>bob@example.org\n", "r.txt:1: ", "HTML"),
        ("r.txt", "annü\u{200d}@example.org\n", "r.txt:1: ", "U+200D ZERO WIDTH JOINER"),
    ];
    for (name, text, line, what) in cases {
        let host = host(name, "");
        host.home.write(name, text);
        is_bad(&host, line);
        is_bad(&host, what);
    }
    // A column that the header does not name for addresses, and that holds some.
    let host = host("r.csv", "");
    host.home.write("r.csv", "mail,second mail\nbob@example.org,b@example.org\n");
    let said = is_good(&host);
    assert!(said.contains("the column `second mail` holds addresses and is not read"), "{said}");
    // The same of attributes.
    let ldif = self::host("r.ldif", "");
    let text = "dn: a\nmail: bob@example.org\nuserPrincipalName: b@example.org\n";
    ldif.home.write("r.ldif", text);
    let said = is_good(&ldif);
    let what = "r.ldif:3: the attribute `userPrincipalName` holds addresses and is not read";
    assert!(said.contains(what), "{said}");
    // Recipients of a domain that is not served.
    host.home.write("r.csv", "mail\nbob@example.org\nbob@exampel.org\n");
    let said = is_good(&host);
    assert!(said.contains("recipients of exampel.org count for nothing"), "{said}");
}

/// Kind: a file that was cut within its last line has lost a recipient, not gained one of
/// another domain (as of a list that was cut at `10.77.0.2/3`).
#[test]
fn half_a_last_line_is_not_another_recipient() {
    for cut in ["ann@example.o", "ann@example", "ann@", "an"] {
        let host = host("r.txt", "");
        host.home.write("r.txt", format!("bob@example.org\n{cut}"));
        is_bad(&host, "r.txt:2: ");
    }
    for (name, text, line) in [
        ("r.csv", "name,mail\nBob,bob@example.org\nAnn,ann@example.o", "r.csv:3: "),
        ("r.csv", "name,mail\nBob,bob@example.org\nAnn", "r.csv:3: "),
        ("r.ldif", "dn: a\nmail: bob@example.org\n\ndn: b\nmail: ann@example.o", "r.ldif:5: "),
    ] {
        let host = host(name, "");
        host.home.write(name, text);
        is_bad(&host, line);
        is_bad(&host, "may have been cut");
    }
    // Many editors end no last line.
    let host = host("r.txt", "");
    host.home.write("r.txt", "bob@example.org\nann@example.org");
    let said = is_good(&host);
    assert!(said.contains("r.txt:2: the last line has no line end"), "{said}");
    assert_eq!(refused(&host, "ann@example.org"), "");
}

/// Kind: the public lists of disposable domains have a domain a line.
#[test]
fn a_domain_alone_blocks_all_of_its_senders() {
    let host = host("r.txt", "[senders]\nblocked_files = [\"bad\"]");
    host.home.write("r.txt", "bob@example.org\n");
    host.home.write("bad", "# disposable\na.example\nB.example\n*.c.example\nx@d.example\n");
    is_good(&host);
    for (from, by) in [
        ("x@a.example", "sender"),
        ("X@B.EXAMPLE", "sender"),
        ("x@y.c.example", "sender"),
        ("x@d.example", "sender"),
        ("y@d.example", ""),
        ("x@y.a.example", ""),
        ("x@c.example", ""),
    ] {
        let explained = explain(&host, false, from, "bob@example.org");
        assert_eq!(reason(&explained), by, "{from}: {explained}");
    }
    for (bad, what) in [
        ("com\n", "top-level domain"),
        ("192.0.2.1\n", "is an IP address"),
        ("a@b.example\n\u{feff}c@d.example\n", "bad:2: "),
        ("a.exam\u{200b}ple\n", "U+200B ZERO WIDTH SPACE"),
        ("a@b.example and c@d.example\n", "one address a line"),
    ] {
        host.home.write("bad", bad);
        is_bad(&host, what);
    }
}

/// Kind: a list of senders that was cut within its last line blocks all of another domain
/// (`gmail.com` of `gmail.com.spam.example`): its last good content is used.
#[test]
fn half_a_last_line_is_not_another_domain_of_senders() {
    let host = host("r.txt", "[senders]\nblocked_files = [\"bad\"]\napproved_files = [\"good\"]");
    host.home.write("r.txt", "bob@example.org\n");
    host.home.write("good", "x@b.example\n");
    for cut in ["gmail.com", "*@gmail.com", "@gmail.com", "*.gmail.com"] {
        host.home.write("bad", format!("a.example\n{cut}"));
        is_bad(&host, "bad:2: ");
        is_bad(&host, "its domain may have been cut");
    }
    let whole = "a.example\nb.example\ngmail.com.spam.example\n";
    host.home.write("bad", whole);
    is_good(&host);
    let _daemon = host.start();
    host.home.write("bad", &whole[..whole.find(".spam").expect("a place")]);
    assert!(host.home.run(&["reload"]).status.success());
    let live = |from: &str| reason(&explain(&host, true, from, "bob@example.org"));
    wait_for("the alarm", || {
        let alarms = host.home.json(&["status"])["alarms"].to_string();
        alarms.contains("its domain may have been cut") && alarms.contains("is used")
    });
    assert_eq!(live("x@gmail.com"), "");
    assert_eq!(live("x@gmail.com.spam.example"), "sender");
}

/// Kind: an access table of another program used as a list says the contrary of what the
/// list does (Postfix's access tables).
#[test]
fn a_note_that_contradicts_its_file_is_a_warning() {
    let host = host("r.txt", "[senders]\nblocked_files = [\"bad\"]\napproved_files = [\"good\"]");
    host.home
        .write("r.txt", "bob@example.org OK\nann@example.org REJECT\neve@example.org 550 no\n");
    host.home.write("bad", "a@b.example spam\nc@b.example OK\n");
    host.home.write("good", "d@b.example REJECT\n");
    let said = is_good(&host);
    for what in [
        "r.txt:2: the note says to refuse the address, and this file makes it valid (and 1 more",
        "bad:2: the note says to let the sender pass, and this list blocks it",
        "good:1: the note says to refuse the sender, and this list approves it",
    ] {
        assert!(said.contains(what), "{what}: {said}");
    }
}

/// Kind: a file of recipients that is bad, cut, or nearly empty would refuse valid
/// recipients: it keeps its last good content, at a start too, and without one the backend
/// decides.
#[test]
fn recipients_and_senders_keep_their_last_good_content() {
    let host = host("r.txt", "[senders]\nblocked_files = [\"bad\"]");
    let four = "bob@example.org\nann@example.org\neve@example.org\njoe@example.org\n";
    host.home.write("r.txt", four);
    host.home.write("bad", "x@a.example\n");
    let live = |from: &str, to: &str| reason(&explain(&host, true, from, to));
    let alarm = |words: &[&str]| {
        wait_for(&format!("an alarm with {words:?}"), || {
            let status = host.home.json(&["status"]);
            let alarms = status["alarms"].as_array().expect("alarms").clone();
            let has =
                |alarm: &Value, word: &&str| alarm.as_str().is_some_and(|a| a.contains(*word));
            alarms.iter().any(|alarm| words.iter().all(|word| has(alarm, word)))
        });
    };
    let assert_all = || {
        assert_eq!(live("a@example.net", "ann@example.org"), "");
        assert_eq!(live("a@example.net", "nobody@example.org"), "recipient");
        assert_eq!(live("x@a.example", "ann@example.org"), "sender");
    };
    {
        let _daemon = host.start();
        assert_all();
        host.home.write("r.txt", "bob@example.org\n");
        host.home.write("bad", "");
        assert!(host.home.run(&["reload"]).status.success());
        alarm(&["r.txt: has 1 entries, and had 4", "with 4 entries is used"]);
        alarm(&["bad: has 0 entries, and had 1", "is used"]);
        assert_all();
        host.home.write("r.txt", format!("{four}ann\u{200b}@example.org\n"));
        fs::remove_file(host.home.path("bad")).expect("removed");
        assert!(host.home.run(&["reload"]).status.success());
        alarm(&["r.txt:5: ", "U+200B ZERO WIDTH SPACE", "is used"]);
        alarm(&["bad: cannot be read", "is used"]);
        assert_all();
    }
    {
        let _daemon = host.start();
        alarm(&["r.txt:5: ", "is used"]);
        assert_all();
    }
    fs::remove_dir_all(host.home.path("state/last-good")).expect("removed");
    let _daemon = host.start();
    alarm(&["r.txt:5: ", "the backend decides"]);
    assert_eq!(live("a@example.net", "ann@example.org"), "");
    assert_eq!(live("a@example.net", "nobody@example.org"), "");
}

/// Kind: one value of one tenant's directory must not break the others, and every valid
/// address is kept as it is.
#[test]
fn values_of_a_directory_that_cannot_be_used_are_skipped_with_their_name() {
    let host = Host::new();
    let rest = [
        domain("example.org", "main", "ldap = \"people\""),
        domain("other.example", "main", "recipients = [\"r.txt\"]"),
        backend("main", 2525, ""),
        "[[ldap]]\nname = \"people\"\nurl = \"ldap://127.0.0.1:3389\"\n\
         base = \"dc=example,dc=org\"\nattributes = [\"mail\"]\n"
            .to_owned(),
        "[reload]\nwatch = false\n".to_owned(),
    ];
    host.home.write("r.txt", "bob@other.example\n");
    host.configure("", &rest.concat());
    let addresses = [
        "bob@example.org",
        "root@[192.0.2.1]",
        "#sales@example.org",
        "nonsense",
        "ann@example.org",
        "*@example.org",
        "mailto:eve@example.org",
        "foo:zoe@example.org",
        "x400:C=us;A= ;",
    ];
    let _slapd = Slapd::start(&host.namespace, 3389, &addresses);
    let live = |to: &str| reason(&explain(&host, true, "a@example.net", to));
    for start in 0..2 {
        let _daemon = host.start();
        wait_for("the directory's answer", || live("nobody@example.org") == "recipient");
        for valid in [
            "bob@example.org",
            "ann@example.org",
            "#sales@example.org",
            "*@example.org",
            "eve@example.org",
        ] {
            assert_eq!(live(valid), "", "{valid} at start {start}");
        }
        // A `*` in somebody's entry is a name, not everybody.
        assert_eq!(live("nobody@example.org"), "recipient", "start {start}");
        let output = host.home.run(&["reload"]);
        assert!(output.status.success(), "{}", said(&output));
        for what in [
            "`root@[192.0.2.1]` of cn=p1,dc=example,dc=org is skipped: it has an IP address",
            "`nonsense` of cn=p3,dc=example,dc=org is skipped: it is not an address",
            "`foo:zoe@example.org` of cn=p7,dc=example,dc=org is skipped: it is of a kind",
        ] {
            assert!(said(&output).contains(what), "{}", said(&output));
        }
        assert_eq!(live("#sales@example.org"), "");
        assert_eq!(live("bob@other.example"), "");
    }
}

/// Kind: a directory that has suddenly lost most of its people (a wrong base, a replica
/// that is not filled yet) keeps its last answer, until the new one is accepted.
#[test]
fn a_directory_that_lost_most_of_its_people_keeps_its_last_answer() {
    let host = Host::new();
    let ldap = "[[ldap]]\nname = \"people\"\nurl = \"ldap://127.0.0.1:3389\"\nrefresh = 1\n\
                base = \"dc=example,dc=org\"\nattributes = [\"mail\"]\n";
    let rest = [
        domain("example.org", "main", "ldap = \"people\""),
        backend("main", 2525, ""),
        ldap.to_owned(),
    ];
    host.configure("", &rest.concat());
    let all = ["bob@example.org", "ann@example.org", "eve@example.org", "joe@example.org"];
    let slapd = Slapd::start(&host.namespace, 3389, &all);
    let live = |to: &str| reason(&explain(&host, true, "a@example.net", to));
    let daemon = host.start();
    wait_for("the directory's answer", || live("nobody@example.org") == "recipient");
    drop(slapd);
    let _slapd = Slapd::start(&host.namespace, 3389, &all[..1]);
    let is_held = || {
        let alarms = host.home.json(&["status"])["alarms"].to_string();
        alarms.contains("has 1 entries, and had 4") && alarms.contains("--accept ldap:people")
    };
    wait_for("the alarm", is_held);
    assert_eq!(live("ann@example.org"), "");
    daemon.end(nix::sys::signal::Signal::SIGTERM);
    let _daemon = host.start();
    assert_eq!(live("ann@example.org"), "");
    wait_for("the alarm after a start", is_held);
    assert!(!host.home.run(&["reload", "--accept", "ldap:others"]).status.success());
    let output = host.home.run(&["reload", "--accept", "ldap:people"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(live("ann@example.org"), "recipient");
    assert_eq!(live("bob@example.org"), "");
    wait_for("the end of the alarm", || {
        !host.home.json(&["status"])["alarms"].to_string().contains("has 1 entries")
    });
}
