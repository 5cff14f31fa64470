//! List files, feeds and country data.

use std::fs;
use std::process::Output;

use mxdp_tests::daemon::{Home, wait_for};
use mxdp_tests::netns::Namespace;
use serde_json::Value;

mod countries;
mod formats;
mod last_good;

const LOOPBACK: &str = "interfaces = [\"lo\"]\nmode = \"generic\"";

/// A daemon's folder, and the loopback of a namespace of its own.
struct Scene {
    namespace: Namespace,
    home: Home,
}

impl Scene {
    /// A configuration with `rest`, and these files; nothing is watched.
    fn new(rest: &str, files: &[(&str, &str)]) -> Self {
        let scene = Self { namespace: Namespace::new("mxf"), home: Home::new() };
        for (name, text) in files {
            scene.write(name, text);
        }
        scene.configure(rest);
        scene
    }

    fn configure(&self, rest: &str) {
        self.home.configure(LOOPBACK, &format!("{rest}\n[reload]\nwatch = false\n"));
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.home.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("written");
    }

    fn file(&self, name: &str) -> String {
        self.home.path(name).display().to_string()
    }

    /// What the daemon's lists and the kernel make of an address.
    fn class(&self, address: &str) -> String {
        let answer = self.home.json(&["lookup", "--live", address]);
        assert_eq!(answer["agree"], true, "{answer}");
        answer["class"].as_str().expect("a class").to_owned()
    }

    /// What the files make of an address, without a daemon.
    fn class_of_files(&self, address: &str) -> String {
        let config = self.file("mxdp.toml");
        let answer = self.home.json(&["lookup", "-c", &config, address]);
        answer["class"].as_str().expect("a class").to_owned()
    }

    fn reload(&self, arguments: &[&str]) -> Output {
        self.home.run(&[&["reload"], arguments].concat())
    }

    /// Reloads, which must succeed, and what it is warned of.
    #[track_caller]
    fn reloads(&self, arguments: &[&str]) -> String {
        let output = self.reload(arguments);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    fn alarms(&self) -> Vec<String> {
        let status = self.home.json(&["status"]);
        let alarms = status["alarms"].as_array().expect("alarms");
        alarms.iter().map(|alarm| alarm.as_str().expect("a text").to_owned()).collect()
    }

    /// Waits for an alarm that has all of these words, and gives it.
    fn alarm(&self, words: &[&str]) -> String {
        let mut found = None;
        wait_for(&format!("an alarm with {words:?}"), || {
            let is_it = |alarm: &String| words.iter().all(|word| alarm.contains(word));
            found = self.alarms().into_iter().find(is_it);
            found.is_some()
        });
        found.expect("an alarm")
    }

    fn no_alarm(&self) {
        wait_for("the end of all alarms", || self.alarms().is_empty());
    }

    /// `mxdp check`: its exit code and output.
    fn check(&self) -> (Option<i32>, String) {
        let output = self.home.run(&["check", "-c", &self.file("mxdp.toml")]);
        (output.status.code(), said(&output))
    }

    /// The output of `mxdp check`, which must find no error.
    #[track_caller]
    fn is_good(&self) -> String {
        let (code, text) = self.check();
        assert_eq!(code, Some(0), "{text}");
        text
    }

    /// `mxdp check` must find an error with these words.
    #[track_caller]
    fn is_bad(&self, words: &str) {
        let (code, text) = self.check();
        assert_eq!(code, Some(3), "{text}");
        assert!(text.lines().any(|l| l.starts_with("error: ") && l.contains(words)), "{text}");
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The warnings of a JSON status.
fn warnings(status: &Value) -> String {
    status["generation"]["warnings"].to_string()
}
