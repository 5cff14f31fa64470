//! `cargo xtask upgrade REV`: a daemon of that version, this one after it, and back.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mxdp_tests::daemon::Daemon;
use mxdp_tests::peers;
use mxdp_tests::scene::{LISTS, Scene};
use nix::sys::signal::Signal;

/// How long SYNs are watched before a change and after it.
const BESIDE: Duration = Duration::from_secs(1);

fn main() -> Result<()> {
    let former = std::env::args().nth(1).context("usage: upgrade BINARY, a former mxdp")?;
    let (former, current) = (Path::new(&former), peers::mxdp());
    let scene = Scene::new();
    for address in ["10.77.0.3", "10.77.0.4", "10.77.0.5"] {
        scene.pair.add_client_address(address);
    }
    // Keys that every version has.
    let folder = scene.home.path("");
    let text = format!(
        "[filter]\ninterfaces = [\"e0\"]\nmode = \"native\"\npin = \"{pins}\"\n\
         [control]\nsocket = \"{folder}/mxdp.sock\"\n[state]\nfolder = \"{folder}/state\"\n{LISTS}",
        pins = scene.home.pins().display(),
        folder = folder.display(),
    );
    scene.home.write("mxdp.toml", text);

    scene.home.use_binary(former);
    let daemon = scene.home.start(&scene.pair.edge);
    for _ in 0..20 {
        anyhow::ensure!(!scene.is_admitted("10.77.0.66"), "the former filters nothing");
    }
    scene.home.json(&["temp", "add", "10.77.0.4", "--for", "1h"]);
    scene.home.json(&["block", "add", "10.77.0.5", "--note", "by the former"]);
    let counted = daemon.frames("blocked_ip");
    let daemon = change(&scene, daemon, &current, "upgraded");
    let status = scene.home.json(&["status"]);
    anyhow::ensure!(daemon.frames("blocked_ip") > counted, "counters began anew");
    anyhow::ensure!(status["interfaces"][0]["adopted"] == true, "a gap: {status:#}");
    anyhow::ensure!(status["alarms"] == serde_json::json!([]), "{status:#}");
    let note = &scene.home.json(&["block", "list"])[0]["note"];
    anyhow::ensure!(note == "by the former", "{note}");

    // An operator who is not content goes back.
    let daemon = change(&scene, daemon, former, "and back");
    daemon.end(Signal::SIGTERM);
    Ok(())
}

/// Ends a daemon and starts another, under traffic: what was in force stays so. Whether
/// counters go on is the next one's affair.
fn change<'a>(scene: &'a Scene, from: Daemon<'a>, to: &Path, what: &str) -> Daemon<'a> {
    let before = from.frames("blocked_ip");
    let mut from = Some(from);
    let mut next = None;
    let knocks = scene.under_traffic_of("10.77.0.3", || {
        thread::sleep(BESIDE);
        if let Some(daemon) = from.take() {
            daemon.end(Signal::SIGTERM);
        }
        scene.home.use_binary(to);
        next = Some(scene.home.start(&scene.pair.edge));
        thread::sleep(BESIDE);
    });
    let next = next.expect("a daemon");
    scene.assert_filtered("after the change");
    for address in ["10.77.0.4", "10.77.0.5"] {
        assert!(!scene.is_admitted(address), "{address} is no longer blocked");
    }
    let counted = match next.frames("blocked_ip").checked_sub(before) {
        Some(counted) => format!("{counted} counted"),
        None => "counted anew".to_owned(),
    };
    println!(
        "{what}: {knocks} SYNs of a blocked address, none admitted, {counted}; none of a free one \
         lost; blocks and entries carried over"
    );
    next
}
