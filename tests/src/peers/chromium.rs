//! Chromium without a window, led by its own driver in the protocol of the W3C's
//! WebDriver recommendation.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Process, environment, find, peers};
use crate::daemon::wait_for;
use crate::http::Http;
use crate::netns::Namespace;

const PORT: u16 = 9515;

/// The key of an element's id (WebDriver section 11).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser in a namespace, ended when dropped.
pub struct Browser<'a> {
    driver: Http<'a>,
    session: String,
    folder: TempDir,
    _process: Process,
}

impl<'a> Browser<'a> {
    /// Starts it, with nothing remembered.
    #[must_use]
    pub fn start(namespace: &'a Namespace) -> Self {
        let folder = TempDir::with_prefix("mxdp-chromium-").expect("a folder");
        let fonts = folder.path().join("fonts.conf");
        let root = peers().unwrap_or_else(|| PathBuf::from("/"));
        let text = format!(
            "<?xml version=\"1.0\"?>\n<!DOCTYPE fontconfig SYSTEM \"fonts.dtd\">\n<fontconfig>\
             <dir>{}/usr/share/fonts</dir><dir>/usr/share/fonts</dir><cachedir>{}</cachedir>\
             </fontconfig>\n",
            root.display(),
            folder.path().join("fontcache").display()
        );
        fs::write(&fonts, text).expect("written");
        let log = File::create(folder.path().join("log")).expect("a log");
        let child = namespace
            .command(find("chromedriver"))
            .arg(format!("--port={PORT}"))
            .envs(environment())
            .env("FONTCONFIG_FILE", fonts)
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("chromedriver starts");
        let process = Process(child);
        let driver = Http::new(namespace, &format!("http://127.0.0.1:{PORT}"), None);
        let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        wait_for("the browser's driver", || driver.ask("GET", "/status", None).is_ok());
        let answer = driver.post("/session", &capabilities(folder.path())).json();
        let session = answer["value"]["sessionId"].as_str();
        let session = session.unwrap_or_else(|| panic!("{answer:#}\n{}", log())).to_owned();
        let browser = Self { driver, session, folder, _process: process };
        // Its own first page is not the site's.
        browser.go("about:blank");
        _ = (browser.console(), browser.requests());
        browser
    }

    fn command(&self, path: &str, body: &Value) -> Result<Value, String> {
        let answer = self.driver.post(&format!("/session/{}{path}", self.session), body);
        let value = answer.json()["value"].clone();
        if answer.status == 200 { Ok(value) } else { Err(format!("{path} {body}: {value:#}")) }
    }

    fn must(&self, path: &str, body: &Value) -> Value {
        self.command(path, body).unwrap_or_else(|error| panic!("{error}\n{}", self.source()))
    }

    fn source(&self) -> String {
        let script = json!({"script": "return document.documentElement.outerHTML", "args": []});
        self.command("/execute/sync", &script).map_or_else(|error| error, |text| text.to_string())
    }

    /// Goes to an address.
    pub fn go(&self, url: &str) {
        self.must("/url", &json!({ "url": url }));
    }

    /// The result of a script in the page.
    #[must_use]
    pub fn eval(&self, script: &str) -> Value {
        self.must("/execute/sync", &json!({"script": format!("return {script}"), "args": []}))
    }

    /// The text that `selector` (CSS) shows first.
    #[must_use]
    pub fn text(&self, selector: &str) -> String {
        let selector = Value::from(selector);
        let text = self.eval(&format!("document.querySelector({selector})?.innerText ?? null"));
        let text = text.as_str().map(str::to_owned);
        text.unwrap_or_else(|| panic!("no {selector} in {}", self.source()))
    }

    /// How many elements `selector` has.
    #[must_use]
    pub fn count(&self, selector: &str) -> u64 {
        let script = format!("document.querySelectorAll({}).length", Value::from(selector));
        self.eval(&script).as_u64().expect("a number")
    }

    fn element(&self, using: &str, value: &str) -> String {
        let found = self.must("/element", &json!({"using": using, "value": value}));
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    /// Clicks on what `selector` finds first, as a mouse does.
    pub fn click(&self, selector: &str) {
        let element = self.element("css selector", selector);
        self.must(&format!("/element/{element}/click"), &json!({}));
    }

    /// Clicks on the first link with this text.
    pub fn follow(&self, text: &str) {
        let element = self.element("partial link text", text);
        self.must(&format!("/element/{element}/click"), &json!({}));
    }

    /// Types into a field, which is emptied first.
    pub fn fill(&self, selector: &str, text: &str) {
        let element = self.element("css selector", selector);
        self.must(&format!("/element/{element}/clear"), &json!({}));
        self.must(&format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// Presses a key on what has the focus; `\u{E004}` is the tabulator and `\u{E007}`
    /// Enter (WebDriver section 17.4.2).
    pub fn press(&self, key: char) {
        let keys = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": keys}]});
        self.must("/actions", &actions);
    }

    /// Makes the window this wide and high, light or dark.
    pub fn looks(&self, width: u32, height: u32, scheme: &str) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.must("/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// The page as a PNG picture, written where `MXDP_SCREENSHOTS` says, if it does.
    #[must_use]
    pub fn screenshot(&self, name: &str) -> Vec<u8> {
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let shot = self.devtools("Page.captureScreenshot", &whole);
        let picture = STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("base64");
        if let Some(folder) = std::env::var_os("MXDP_SCREENSHOTS") {
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(Path::new(&folder).join(format!("{name}.png")), &picture).expect("written");
        }
        picture
    }

    /// What the console said since it was asked last: warnings and errors, those of
    /// the content-security policy and of failed requests among them.
    #[must_use]
    pub fn console(&self) -> Vec<String> {
        let entries = self.must("/se/log", &json!({"type": "browser"}));
        let entries = entries.as_array().into_iter().flatten();
        entries.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The addresses that pages requested since the last call.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        let entries = self.must("/se/log", &json!({"type": "performance"}));
        let entries = entries.as_array().into_iter().flatten();
        let messages = entries
            .filter_map(|entry| serde_json::from_str::<Value>(entry["message"].as_str()?).ok());
        messages
            .filter(|message| message["message"]["method"] == "Network.requestWillBeSent")
            .filter_map(|message| {
                let url = &message["message"]["params"]["request"]["url"];
                url.as_str().map(str::to_owned)
            })
            .collect()
    }

    /// The folder of downloads.
    #[must_use]
    pub fn downloads(&self) -> PathBuf {
        self.folder.path().join("downloads")
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        // The driver ends the browser; without a driver it would go on.
        _ = self.driver.ask("DELETE", &format!("/session/{}", self.session), None);
    }
}

fn capabilities(folder: &Path) -> Value {
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let mut arguments = vec![
        "--headless=new",
        // Root has no sandbox; the pages are our own.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        "--lang=en",
    ];
    arguments.push(&profile);
    json!({"capabilities": {"alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": {
            "binary": find("usr/lib/chromium/chromium"),
            "args": arguments,
            "prefs": {"download.default_directory": folder.join("downloads")},
        },
        "goog:loggingPrefs": {"browser": "WARNING", "performance": "ALL"},
    }}})
}
