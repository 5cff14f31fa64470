//! What a reload makes active, for whom, and that it is answered.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mxdp::web::sha256_hex;
use mxdp_tests::daemon::Home;
use mxdp_tests::http::Http;
use mxdp_tests::mail::{Host, backend, domain};
use mxdp_tests::netns::{Namespace, Pair};
use mxdp_tests::pace::lasting;
use mxdp_tests::tls::Authority;
use serde_json::json;

const SITE: &str = "http://127.0.0.1:8025";

fn token(name: &str, rights: &str) -> String {
    let sha256 = sha256_hex(name);
    format!("[[web.tokens]]\nname = \"{name}\"\nrights = \"{rights}\"\nsha256 = \"{sha256}\"\n")
}

fn configure(home: &Home, web: &str) {
    home.configure("interfaces = [\"lo\"]\nmode = \"generic\"", web);
}

fn reload(home: &Home) -> serde_json::Value {
    home.json(&["reload"])
}

/// A connection that stays open between requests.
struct KeptAlive(BufReader<TcpStream>);

impl KeptAlive {
    fn open(namespace: &Namespace) -> Self {
        let stream = namespace.run(|| TcpStream::connect("127.0.0.1:8025").expect("connected"));
        stream.set_read_timeout(Some(lasting(Duration::from_secs(20)))).expect("a socket");
        Self(BufReader::new(stream))
    }

    /// The status of an answer; none where the connection was ended.
    fn ask(&mut self, token: Option<&str>) -> Option<u16> {
        let field = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "GET /api/v1/temporary HTTP/1.1\r\nHost: 127.0.0.1:8025\r\n{}\r\n",
            field.unwrap_or_default()
        );
        self.0.get_mut().write_all(request.as_bytes()).ok()?;
        let mut line = String::new();
        self.0.read_line(&mut line).ok()?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line).ok()?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        Some(status)
    }
}

/// Kind: what was taken away goes on where it was in use. A token that is removed, or has
/// fewer rights, and rights of loopback that are taken back count from the reload on, for
/// connections that were open too.
#[test]
fn a_reload_takes_tokens_and_rights_away_at_once() {
    let (namespace, home) = (Namespace::new("mxw"), Home::new());
    let both = format!("{}{}", token("anna", "write"), token("bob", "read"));
    configure(&home, &format!("[web]\nloopback = \"read\"\n{both}"));
    let _daemon = home.start(&namespace);
    let http = Http::new(&namespace, SITE, None);
    let entry = json!({"prefix": "198.51.100.0/24"});
    let anna = http.with("authorization", "Bearer anna");
    assert_eq!(anna.post("/api/v1/entries/blocked", &entry).status, 200);
    let mut open: Vec<_> = [Some("bob"), Some("bob"), None]
        .map(|token| (token, KeptAlive::open(&namespace)))
        .into_iter()
        .collect();
    for (token, connection) in &mut open {
        assert_eq!(connection.ask(*token), Some(200), "{token:?}");
    }
    // Fewer rights and another name for one, nothing for the other, and nothing for loopback.
    let less = token("anna", "read").replace("\"anna\"", "\"renamed\"");
    configure(&home, &format!("[web]\n{less}"));
    assert_eq!(reload(&home)["warnings"], json!([]));
    for (token, connection) in &mut open {
        let status = connection.ask(*token);
        assert!(matches!(status, None | Some(401)), "{token:?}: {status:?}");
    }
    assert_eq!(http.with("authorization", "Bearer bob").get("/metrics").status, 401);
    assert_eq!(http.get("/metrics").status, 401);
    assert_eq!(anna.get("/metrics").status, 200);
    assert_eq!(anna.post("/api/v1/entries/blocked", &entry).status, 403);
    // A new token needs no restart either.
    configure(&home, &format!("[web]\n{}", token("carol", "write")));
    reload(&home);
    let carol = http.with("authorization", "Bearer carol");
    assert_eq!(carol.post("/api/v1/entries/blocked", &entry).status, 200);
    assert_eq!(anna.get("/metrics").status, 401);
    // Nor does the end of the console: health is all that is left until the restart.
    configure(&home, "");
    let warnings = reload(&home)["warnings"].to_string();
    assert!(warnings.contains("web.listen was changed"), "{warnings}");
    assert_eq!(carol.get("/metrics").status, 401);
    assert_eq!(http.get("/healthz").status, 200);
}

/// Kind: the same for a certificate. Clients that trust only the new one are served after
/// the file changed; one that does not belong to its key changes nothing.
#[test]
fn a_renewed_certificate_of_the_console_is_used_without_a_restart() {
    let (pair, home) = (Pair::new(), Home::new());
    let (folder, next) = (home.path(""), home.path("next"));
    fs::create_dir(&next).expect("a folder");
    let (old, new) = (Authority::new(), Authority::new());
    let ca = old.certificate(&folder);
    let (chain, key) = old.issue(&folder, "10.77.0.1");
    let web = format!(
        "[web]\nlisten = [\"10.77.0.1:8025\"]\nchain = \"{}\"\nkey = \"{}\"\n{}",
        chain.display(),
        key.display(),
        token("anna", "read")
    );
    home.configure("interfaces = [\"e0\"]\nmode = \"native\"", &web);
    let _daemon = home.start(&pair.edge);
    let ask = |ca| {
        let http = Http::new(&pair.client, "https://10.77.0.1:8025", Some(ca));
        http.ask("GET", "/healthz", None).map(|answer| answer.status).ok()
    };
    assert_eq!(ask(&ca), Some(200));
    let new_ca = new.certificate(&next);
    assert_eq!(ask(&new_ca), None);
    let (new_chain, new_key) = new.issue(&next, "10.77.0.1");
    // Half of a pair is refused, and what was active stays.
    fs::copy(&new_chain, &chain).expect("copied");
    assert!(!home.run(&["reload"]).status.success());
    assert_eq!(ask(&ca), Some(200));
    fs::copy(&new_key, &key).expect("copied");
    reload(&home);
    assert_eq!(ask(&new_ca), Some(200));
    assert_eq!(ask(&ca), None);
}

/// Kind: a client waits for a state that never comes. A reload is answered while files keep
/// changing, by a rule set whose files were read after it was asked for.
#[test]
fn a_reload_is_answered_while_files_keep_changing() {
    let (namespace, home) = (Namespace::new("mxw"), Home::new());
    home.write("blocked.txt", "192.0.2.1\n");
    configure(&home, "[blocked]\nfiles = [\"blocked.txt\"]\n");
    let _daemon = home.start(&namespace);
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0_u32;
            while !ends.load(Ordering::Relaxed) {
                number = number.wrapping_add(1);
                let text: String = (0..20_000_u32)
                    .map(|n| {
                        format!("{}\n", std::net::Ipv4Addr::from(0x0a00_0000 + n + number % 7))
                    })
                    .collect();
                home.write("next.txt", text);
                fs::rename(home.path("next.txt"), home.path("blocked.txt")).expect("renamed");
                // Reloads as often as possible.
                _ = home.mxdp(None, &["reload"]).spawn().map(|mut child| {
                    thread::sleep(Duration::from_millis(30));
                    _ = child.kill();
                    _ = child.wait();
                });
            }
        });
        let slowest = (0..4).map(|_| {
            let start = Instant::now();
            reload(&home);
            start.elapsed()
        });
        let slowest = slowest.max();
        ends.store(true, Ordering::Relaxed);
        assert!(slowest < Some(lasting(Duration::from_secs(15))), "{slowest:?}");
    });
}

/// Kind: a warning that is said once, when nobody looked. Each key that only a restart can
/// change gives a warning at every reload until it is undone.
#[test]
fn keys_that_need_a_restart_are_warned_of_at_every_reload() {
    let host = Host::new();
    let configure = |relay: u16, web: u16| {
        let rest = format!(
            "[relay]\nlisten = [\"127.0.0.1:{relay}\"]\nbackend = \"main\"\n\
             [[customer]]\nname = \"c\"\nnetworks = [\"192.0.2.9/32\"]\ndomains = [\"c.example\"]\n\
             [web]\nlisten = [\"127.0.0.1:{web}\"]\n{}{}{}",
            token("anna", "read"),
            domain("example.org", "main", ""),
            backend("main", 2600, "")
        );
        host.configure("", &rest);
    };
    configure(587, 8025);
    let _daemon = host.start();
    let warned = || {
        let warnings = reload(&host.home)["warnings"].clone();
        let warnings = warnings.as_array().expect("warnings").clone();
        let restart = warnings.iter().filter_map(|warning| {
            let text = warning.as_str()?;
            text.contains("restarted").then(|| text.split(' ').next().unwrap_or("").to_owned())
        });
        restart.collect::<Vec<_>>()
    };
    assert_eq!(warned(), Vec::<String>::new());
    configure(588, 8026);
    for _ in 0..3 {
        assert_eq!(warned(), ["relay.listen", "web.listen"]);
    }
    configure(587, 8026);
    assert_eq!(warned(), ["web.listen"]);
    configure(587, 8025);
    assert_eq!(warned(), Vec::<String>::new());
}
