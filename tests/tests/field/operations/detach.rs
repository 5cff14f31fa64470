//! Taking the filter off, and taking it over, whatever the configuration says by then.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;

use mxdp_tests::daemon::wait_for;
use mxdp_tests::files::files_below;
use mxdp_tests::peers;
use mxdp_tests::scene::{LISTS, Scene};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use serde_json::Value;

/// `mxdp detach` on the edge, with whatever else.
fn detach(scene: &Scene, arguments: &[&str]) -> Output {
    let arguments = [&["detach"], arguments].concat();
    let mut command = scene.home.mxdp(Some(&scene.pair.edge), &arguments);
    command.output().expect("mxdp starts")
}

fn words(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn config(scene: &Scene) -> String {
    scene.home.path("mxdp.toml").to_str().expect("UTF-8").to_owned()
}

/// The configuration with another `filter.pin`, below the same bpf file system.
fn pin_elsewhere(scene: &Scene, filter: &str) -> PathBuf {
    scene.home.configure(filter, LISTS);
    let text = fs::read_to_string(scene.home.path("mxdp.toml")).expect("read");
    let (old, new) = (scene.home.pins(), scene.home.pins().with_file_name("moved"));
    let text = text.replace(&old.display().to_string(), &new.display().to_string());
    scene.home.write("mxdp.toml", text);
    new
}

/// The kind: an emergency tool that needs the part that is broken. Removing the package
/// with a broken configuration left a filter that nothing could take off.
#[test]
fn detach_needs_no_configuration() {
    let scene = Scene::new();
    let path = config(&scene);
    let broken = "[filter]\ninterfaces = [\"e0\"]\nmode = \n";
    let pins = format!("pin = \"{}\"\n", scene.home.pins().display());
    for (what, text, arguments) in [
        ("a configuration that is no TOML", Some(format!("{broken}{pins}")), vec!["-c", &path]),
        ("one that names no pin", Some("nonsense".to_owned()), vec!["-c", &path]),
        ("an empty one", Some(String::new()), vec!["-c", &path]),
        ("a file that is missing", None, vec!["-c", &path]),
        ("none at all", None, vec![]),
    ] {
        scene.home.configure("interfaces = [\"e0\"]\nmode = \"native\"", LISTS);
        scene.home.start(&scene.pair.edge).end(Signal::SIGKILL);
        assert!(scene.xdp_program().is_some(), "{what}");
        match text {
            Some(text) => scene.home.write("mxdp.toml", text),
            None => fs::remove_file(scene.home.path("mxdp.toml")).expect("removed"),
        }
        let output = detach(&scene, &arguments);
        assert!(output.status.success(), "{what}: {}", words(&output));
        assert!(words(&output).contains("e0"), "{what}: {}", words(&output));
        assert_eq!(scene.xdp_program(), None, "{what}: {}", words(&output));
        assert!(scene.is_admitted("10.77.0.66"), "{what}");
        assert_eq!(files_below(&scene.home.pins()), Vec::<PathBuf>::new(), "{what}");
        // The second time there is nothing to do, which is not an error.
        let output = detach(&scene, &arguments);
        assert!(output.status.success(), "{what}: {}", words(&output));
    }
}

/// The kind: pins are believed instead of the interfaces. After a change of `filter.pin`
/// the filter was on, and `mxdp detach` found nothing.
#[test]
fn detach_finds_the_filter_wherever_it_is_pinned() {
    let scene = Scene::new();
    let path = config(&scene);
    scene.home.start(&scene.pair.edge).end(Signal::SIGKILL);
    pin_elsewhere(&scene, "interfaces = [\"e0\"]");
    let output = detach(&scene, &["-c", &path]);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(scene.xdp_program(), None, "{}", words(&output));
    assert_eq!(files_below(&scene.home.pins()), Vec::<PathBuf>::new());

    // Renamed by hand, pinned a second time, and its interface is no longer named.
    scene.home.configure("interfaces = [\"e0\"]", LISTS);
    scene.home.start(&scene.pair.edge).end(Signal::SIGKILL);
    fs::rename(scene.home.pins(), scene.home.pins().with_file_name("by-hand")).expect("renamed");
    pin_elsewhere(&scene, "interfaces = [\"e1\"]");
    let output = detach(&scene, &["-c", &path]);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(scene.xdp_program(), None, "{}", words(&output));
}

/// The kind: what looks abandoned is another's. The filter of a daemon that runs is left
/// alone, with a word of which process it is.
#[test]
fn detach_leaves_the_filter_of_a_running_daemon_alone() {
    for filter in ["interfaces = [\"e0\"]", "interfaces = [\"e0\"]\npersist = false"] {
        let scene = Scene::new();
        scene.home.configure(filter, LISTS);
        let daemon = scene.home.start(&scene.pair.edge);
        let output = detach(&scene, &["-c", "/nowhere/mxdp.toml", "--socket", "/nowhere/socket"]);
        assert_eq!(output.status.code(), Some(1), "{filter}: {}", words(&output));
        let said = words(&output);
        let named = said.contains("another mxdp is running")
            || said.contains(&format!("the running process {}", daemon.pid()));
        assert!(named, "{filter}: {said}");
        scene.assert_filtered("after the refusal");
    }
}

/// The kind: a setting that was changed makes every restart fail. Our own program is
/// recognised wherever it is pinned, and taken over without a gap.
#[test]
fn a_changed_pin_or_persist_does_not_fail_a_restart() {
    let scene = Scene::new();
    let e0 = "interfaces = [\"e0\"]\nmode = \"native\"";
    scene.home.configure(e0, LISTS);
    let daemon = scene.home.start(&scene.pair.edge);
    scene.home.json(&["temp", "add", "10.77.0.5", "--for", "1h"]);
    let counted = daemon.frames("unlisted");
    daemon.end(Signal::SIGKILL);
    let interface = |key: &str| scene.home.json(&["status"])["interfaces"][0][key].clone();
    let blocks = || scene.home.json(&["temp", "list"]).as_array().map(Vec::len);

    let moved = pin_elsewhere(&scene, e0);
    let mut daemon = None;
    scene.under_traffic(|| daemon = Some(scene.home.start(&scene.pair.edge)));
    assert_eq!((interface("adopted"), interface("pinned")), (Value::Bool(true), Value::Bool(true)));
    assert_eq!(blocks(), Some(1), "temporary blocks are carried over");
    assert!(daemon.as_ref().is_some_and(|daemon| daemon.frames("unlisted") >= counted));
    assert_eq!(files_below(&scene.home.pins()), Vec::<PathBuf>::new(), "the old pins are gone");
    assert!(!files_below(&moved).is_empty());
    daemon.expect("a daemon").end(Signal::SIGKILL);
    scene.assert_filtered("by the new pins");

    // Not to outlive the daemon any more: taken over, and off at its end.
    scene.home.configure(&format!("{e0}\npersist = false"), LISTS);
    let daemon = scene.home.start(&scene.pair.edge);
    assert_eq!(
        (interface("adopted"), interface("pinned")),
        (Value::Bool(true), Value::Bool(false))
    );
    assert_eq!(blocks(), Some(1));
    assert_eq!(files_below(&moved), Vec::<PathBuf>::new());
    scene.assert_filtered("without pins");
    daemon.end(Signal::SIGTERM);
    wait_for("the filter to leave", || scene.xdp_program().is_none());

    // And back again.
    scene.home.configure(e0, LISTS);
    let daemon = scene.home.start(&scene.pair.edge);
    assert_eq!(interface("pinned"), true);
    assert_eq!(blocks(), Some(1));
    daemon.end(Signal::SIGTERM);
}

/// The kind: an emergency has two causes at once. Whatever else is wrong, the tools that
/// lift blocks and remove the filter work, or report the error and change nothing.
#[test]
fn the_tools_for_an_emergency_work_whatever_is_broken() {
    struct Case {
        what: &'static str,
        /// Breaks it, beside a running daemon or without one.
        breaks: fn(&Scene),
        mends: fn(&Scene),
        /// Whether changes that must be kept on the disk are refused meanwhile.
        keeps_nothing: bool,
    }
    fn nothing(_: &Scene) {}
    fn unmount(scene: &Scene) {
        umount2(&scene.home.path("state"), MntFlags::MNT_DETACH).expect("unmounted");
    }
    fn mount_state(scene: &Scene, options: &str) {
        let state = scene.home.path("state");
        fs::create_dir_all(&state).expect("a folder");
        mount(Some("tmpfs"), &state, Some("tmpfs"), MsFlags::empty(), Some(options)).expect("root");
    }
    let cases = [
        Case { what: "nothing", breaks: nothing, mends: nothing, keeps_nothing: false },
        Case {
            what: "the configuration",
            breaks: |scene| scene.home.write("mxdp.toml", "[filter\n"),
            mends: |scene| {
                scene.home.configure("interfaces = [\"e0\"]\nmode = \"native\"", LISTS);
            },
            keeps_nothing: false,
        },
        Case {
            what: "the pin path, which was changed",
            breaks: |scene| {
                pin_elsewhere(scene, "interfaces = [\"e0\"]\nmode = \"native\"");
            },
            mends: |scene| {
                scene.home.configure("interfaces = [\"e0\"]\nmode = \"native\"", LISTS);
            },
            keeps_nothing: false,
        },
        Case {
            what: "the state folder, which is missing",
            breaks: |scene| _ = fs::remove_dir_all(scene.home.path("state")),
            mends: nothing,
            keeps_nothing: false,
        },
        Case {
            what: "the disk, which is full",
            breaks: |scene| {
                mount_state(scene, "size=8k,nr_inodes=3");
                _ = fs::write(scene.home.path("state/full"), vec![0; 8192]);
            },
            mends: unmount,
            keeps_nothing: true,
        },
        Case {
            what: "the disk, which is read-only",
            breaks: |scene| {
                mount_state(scene, "size=1m");
                let none: Option<&str> = None;
                let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
                mount(none, &scene.home.path("state"), none, flags, none).expect("root");
            },
            mends: unmount,
            keeps_nothing: true,
        },
    ];
    for case in cases {
        let scene = Scene::new();
        let what = case.what;
        let path = config(&scene);
        let daemon = scene.home.start(&scene.pair.edge);
        scene.home.json(&["temp", "add", "10.77.0.2", "--for", "1h"]);
        scene.home.json(&["block", "add", "10.77.0.9", "--note", "before"]);
        (case.breaks)(&scene);
        let run = |arguments: &[&str]| scene.home.run(arguments);
        let status = run(&["status"]);
        assert!(status.status.success(), "{what}: status: {}", words(&status));
        // A block in the kernel is lifted, whether the disk takes note of it or not.
        assert!(!scene.is_admitted("10.77.0.2"), "{what}");
        let lifted = run(&["temp", "remove", "10.77.0.2"]);
        assert!(lifted.status.success(), "{what}: temp remove: {}", words(&lifted));
        assert!(scene.is_admitted("10.77.0.2"), "{what}");
        // State on the disk is changed there first; if that fails, nothing changes.
        let removed = run(&["block", "remove", "10.77.0.9"]);
        assert_eq!(removed.status.success(), !case.keeps_nothing, "{what}: {}", words(&removed));
        let left = scene.home.json(&["block", "list"]).as_array().map(Vec::len);
        assert_eq!(left, Some(usize::from(case.keeps_nothing)), "{what}");
        // A reload reports the error, and changes nothing.
        let reload = run(&["reload"]);
        let is_broken = what == "the configuration";
        assert_eq!(reload.status.success(), !is_broken, "{what}: {}", words(&reload));
        scene.assert_filtered("after the reload");
        // With the daemon, by whatever finds its socket.
        let output = detach(&scene, &[]);
        assert!(output.status.success(), "{what}: detach: {}", words(&output));
        assert!(daemon.wait(), "{what}: {}", scene.home.log());
        assert_eq!(scene.xdp_program(), None, "{what}");
        (case.mends)(&scene);

        // The same without a daemon: what asks it says that there is none, and the filter
        // comes off.
        let daemon = scene.home.start(&scene.pair.edge);
        daemon.end(Signal::SIGKILL);
        (case.breaks)(&scene);
        for arguments in
            [&["status"][..], &["temp", "remove", "10.77.0.2"], &["block", "remove", "10.77.0.9"]]
        {
            let output = run(arguments);
            assert_eq!(output.status.code(), Some(4), "{what}: {arguments:?}: {}", words(&output));
        }
        scene.assert_filtered("without a daemon");
        let output = detach(&scene, &["-c", &path]);
        assert!(output.status.success(), "{what}: detach: {}", words(&output));
        assert_eq!(scene.xdp_program(), None, "{what}");
        (case.mends)(&scene);

        // And so does what removes the package.
        scene.home.start(&scene.pair.edge).end(Signal::SIGKILL);
        (case.breaks)(&scene);
        let output = remove_package(&scene);
        assert!(output.status.success(), "{what}: {}", words(&output));
        assert_eq!(scene.xdp_program(), None, "{what}: {}", words(&output));
        (case.mends)(&scene);
    }
}

/// Runs the script that removes the package's daemon, with this one's `mxdp`.
fn remove_package(scene: &Scene) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/debian/prerm");
    let tools = scene.home.path("tools");
    if !tools.exists() {
        fs::create_dir(&tools).expect("a folder");
        std::os::unix::fs::symlink(peers::mxdp(), tools.join("mxdp")).expect("a link");
        // The host's own systemd is not part of this test.
        let systemd = tools.join("deb-systemd-invoke");
        fs::write(&systemd, "#!/bin/sh\n").expect("written");
        fs::set_permissions(&systemd, fs::Permissions::from_mode(0o755)).expect("executable");
    }
    let mut command = scene.pair.edge.command("sh");
    command.args([script, "remove"]).env("PATH", format!("{}:/usr/bin:/bin", tools.display()));
    command.output().expect("sh starts")
}

/// The kind: another program is attached in place of ours. It is named, it is left alone, and
/// every tool works beside it.
#[test]
fn another_program_in_its_stead_is_named_and_left_alone() {
    let scene = Scene::new();
    let daemon = scene.home.start(&scene.pair.edge);
    scene.home.json(&["temp", "add", "10.77.0.2", "--for", "1h"]);
    scene.home.json(&["block", "add", "10.77.0.9"]);
    daemon.signal(Signal::SIGSTOP);
    scene.pair.edge.ip("link del e0");
    scene.pair.link();
    let other = other_program(&scene);
    daemon.signal(Signal::SIGCONT);
    let alarm = format!("another XDP program (id {other}) is attached");
    wait_for("the alarm", || scene.home.json(&["status"])["alarms"].to_string().contains(&alarm));
    let reload = scene.home.run(&["reload"]);
    assert!(!reload.status.success());
    assert!(words(&reload).contains("another XDP program is attached"), "{}", words(&reload));
    scene.home.json(&["temp", "remove", "10.77.0.2"]);
    scene.home.json(&["block", "remove", "10.77.0.9"]);
    let output = detach(&scene, &[]);
    assert!(output.status.success(), "{}", words(&output));
    assert!(daemon.wait(), "{}", scene.home.log());
    assert_eq!(scene.xdp_program(), Some(other), "another's program was taken off");
    let output = remove_package(&scene);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(scene.xdp_program(), Some(other), "another's program was taken off");
}

/// Puts the program of somebody else on the edge's interface, and gives its id.
fn other_program(scene: &Scene) -> u64 {
    // Its pins go with the mount; the program is attached without a link, and stays.
    let script = "mount -t bpf bpf /sys/fs/bpf && exec \"$0\" load e0 -m native -f ipv4 -p allow";
    let mut command = scene.pair.edge.command("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(peers::find("xdp-filter"));
    command.envs(peers::environment());
    let programs = peers::find("usr/lib/x86_64-linux-gnu/bpf");
    command.env("LIBXDP_OBJECT_PATH", programs).env("LIBXDP_SKIP_DISPATCHER", "1");
    let output = command.output().expect("unshare starts");
    assert!(output.status.success(), "{}", words(&output));
    scene.xdp_program().expect("a program")
}
