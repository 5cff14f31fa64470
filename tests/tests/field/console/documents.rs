//! Every configuration that a document or an example shows.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use mxdp_tests::daemon::Home;
use mxdp_tests::netns::Namespace;
use mxdp_tests::peers::clients::said;
use mxdp_tests::tls::Authority;

use super::repository;

/// Where documents are, from the root of the repository.
const FOLDERS: [&str; 9] = [
    "",
    "docs",
    "docs/adr",
    "docs/background",
    "docs/how-to",
    "docs/quick-start",
    "docs/reference",
    "config",
    "config/examples",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of these folders whose names end so.
fn files(kind: &str) -> Vec<String> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        for file in fs::read_dir(root().join(folder)).expect("a folder").flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if name.ends_with(kind) {
                found.push(format!("{folder}/{name}").trim_start_matches('/').to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Whether a line is the head of a TOML table of a configuration.
fn is_table(line: &str) -> bool {
    let line = line.split('#').next().unwrap_or_default().trim_end();
    let inner = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
    let Some(inner) = inner else { return false };
    let inner = inner.strip_prefix('[').and_then(|line| line.strip_suffix(']')).unwrap_or(inner);
    !inner.is_empty() && inner.chars().all(|c| c.is_ascii_lowercase() || "._".contains(c))
}

/// The blocks of code of a Markdown text that are configurations: indented by four
/// columns, or between fences.
fn blocks(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut block: Vec<&str> = Vec::new();
    let mut fenced = false;
    for line in text.lines().chain(["end"]) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            block.push(line);
            continue;
        } else if let Some(code) = line.strip_prefix("    ") {
            block.push(code);
            continue;
        } else if line.is_empty() && !block.is_empty() {
            block.push("");
            continue;
        }
        if block.iter().any(|line| is_table(line)) {
            all.push(block.join("\n") + "\n");
        }
        block.clear();
    }
    all
}

/// A sample with its commented keys activated.
fn uncommented(text: &str) -> String {
    let mut lines = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("# ").or(line.strip_prefix('#')) else {
            lines.push(line.to_owned());
            continue;
        };
        let key = rest.split(" = ").next().unwrap_or_default();
        let is_key = rest.contains(" = ")
            && !key.is_empty()
            && key
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c));
        if open || is_key || is_table(rest) {
            lines.push(rest.to_owned());
            let code = rest.split('#').next().unwrap_or_default();
            open = (open || code.contains("= [")) && !code.trim_end().ends_with(']');
        }
    }
    lines.join("\n") + "\n"
}

/// A folder with the files that documents name, in a namespace with their interface.
struct Scene {
    home: Home,
    namespace: Namespace,
}

impl Scene {
    fn new() -> Self {
        let namespace = Namespace::new("mxd");
        namespace.ip("link add eth0 type veth peer name eth1");
        let home = Home::new();
        for folder in ["examples", "."] {
            fs::create_dir_all(home.path(folder)).expect("a folder");
        }
        for folder in ["config/examples", "config"] {
            copy(&root().join(folder), &home.path("").join(folder));
        }
        for folder in ["", "config/examples", "config"] {
            let tls = home.path(folder).join("tls");
            fs::create_dir_all(&tls).expect("a folder");
            let authority = Authority::new();
            _ = authority.issue(&tls, "relay.example.net");
            let (chain, key) = authority.issue(&tls, "mx.example.org");
            fs::copy(chain, home.path(folder).join("mx.pem")).expect("a certificate");
            fs::copy(key, home.path(folder).join("mx.key")).expect("a key");
            for key in ["mx.key", "tls/mx.example.org.key", "tls/relay.example.net.key"] {
                let mode = fs::Permissions::from_mode(0o600);
                fs::set_permissions(home.path(folder).join(key), mode).expect("a mode");
            }
            let lists = [
                ("recipients.txt", "bob@example.org\n"),
                ("approved.txt", "192.0.2.1\n"),
                ("blocked.txt", "198.51.100.1\n"),
                ("senders-blocked.txt", "*@spam.example\n"),
                ("feeds-drop.txt", "198.18.0.0/24\n"),
            ];
            for (name, text) in lists {
                fs::write(home.path(folder).join(name), text).expect("a list");
            }
        }
        Self { home, namespace }
    }

    /// Checks a configuration, which must have no error and no warning.
    #[track_caller]
    fn is_good(&self, place: &str, folder: &str, text: &str) {
        let path = self.home.path(folder).join("document.toml");
        fs::write(&path, text).expect("written");
        let arguments = ["check", "-c", &path.display().to_string()];
        let output = self.home.mxdp(Some(&self.namespace), &arguments).output();
        let output = output.expect("mxdp starts");
        let said = said(&output);
        assert!(said.contains("configuration OK, no warnings"), "{place}:\n{said}\n{text}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for file in fs::read_dir(from).expect("files").flatten() {
        let target = to.join(file.file_name());
        if file.path().is_dir() {
            copy(&file.path(), &target);
        } else {
            fs::copy(file.path(), target).expect("a copy");
        }
    }
}

/// Kind: a document shows what the program refuses.
/// Source: README's configuration of the relay did not pass `check`.
#[test]
fn every_configuration_in_a_document_passes_the_check_without_a_warning() {
    let scene = Scene::new();
    let readme = blocks(&repository("README.md"));
    let whole = readme.iter().find(|block| block.contains("[filter]"));
    let whole = whole.expect("README has a whole configuration");
    let mut count = 0;
    for file in files(".md") {
        for (number, block) in blocks(&repository(&file)).into_iter().enumerate() {
            let place = format!("{file}, configuration {}", number + 1);
            // A partial configuration is checked together with the one in README.
            let text = if block.contains("[filter]") { block } else { format!("{whole}\n{block}") };
            scene.is_good(&place, "", &text);
            count += 1;
        }
    }
    assert!(count >= 4, "{count} configurations are found in documents");
}

/// The same of the files: as they are, and with what they show in comments.
#[test]
fn every_sample_and_example_passes_the_check_without_a_warning() {
    let scene = Scene::new();
    let mut count = 0;
    for file in files(".toml").into_iter().filter(|file| file.starts_with("config/")) {
        let folder = Path::new(&file).parent().expect("a folder").display().to_string();
        let text = repository(&file);
        scene.is_good(&file, &folder, &text);
        let feeds = scene.home.path(&folder).join("feeds-drop.txt").display().to_string();
        let all = uncommented(&text).replace("/var/lib/feeds/drop.txt", &feeds);
        let all = all.replace("/var/lib/feeds/ipsum.txt", &feeds);
        // There is no country database here; its folder is an example's.
        let countries = scene.home.path("config/examples/countries").display().to_string();
        let all = all.replace(
            "database = \"/var/lib/GeoIP/GeoLite2-Country.mmdb\"",
            &format!("folder = \"{countries}\""),
        );
        let all = all.replace("\"DE\", \"AT\"", "\"DE\"");
        scene.is_good(&format!("{file} with its comments"), &folder, &all);
        count += 1;
    }
    assert!(count >= 6, "{count} samples are found");
}
