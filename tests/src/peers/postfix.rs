//! A real Postfix: its own folders, its own `master`, delivery into Maildirs.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Process, environment, find};
use crate::daemon::wait_for;
use crate::netns::Namespace;

/// Users and groups of every Debian system that Postfix runs as here. It wants
/// two that nobody else uses; processes of the user nobody do not use them.
const OWNER: (&str, u32) = ("daemon", 1);
const SETGID: (&str, u32) = ("mail", 8);
const NOBODY: u32 = 65_534;

/// What a Postfix is to be like.
#[derive(Clone, Debug, Default)]
pub struct Options<'a> {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Domains that it delivers.
    pub domains: &'a [&'a str],
    /// Their valid recipients.
    pub recipients: &'a [&'a str],
    /// Further lines of main.cf.
    pub main: &'a str,
    /// Further lines of master.cf.
    pub master: &'a str,
    /// The content that it sees as /etc/resolv.conf.
    pub resolv: Option<&'a Path>,
}

/// A running Postfix, ended when dropped.
pub struct Postfix {
    folder: TempDir,
    master: Process,
}

impl Postfix {
    /// Starts one in a namespace, and waits until it answers.
    #[must_use]
    pub fn start(namespace: &Namespace, options: &Options<'_>) -> Self {
        let folder = TempDir::with_prefix("mxdp-postfix-").expect("a folder");
        mode(folder.path(), 0o755);
        make_folders(folder.path());
        configure(folder.path(), options);
        let daemons = find("usr/lib/postfix/sbin/master");
        let out = fs::File::create(folder.path().join("out")).expect("a log");
        let config = folder.path().join("conf");
        let mut command = match options.resolv {
            None => namespace.command(daemons),
            // In a mount namespace of its own, in which nothing else changes.
            Some(resolv) => {
                let mut command = namespace.command("/usr/bin/unshare");
                let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
                command.args(["-m", "sh", "-c", script]).arg(resolv).arg(daemons);
                command
            }
        };
        let child = command
            .args(["-d", "-c"])
            .arg(&config)
            .env("MAIL_CONFIG", &config)
            .envs(environment())
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a log"))
            .stderr(out)
            .spawn()
            .expect("master starts");
        let postfix = Self { folder, master: Process(child) };
        wait_for("Postfix", || {
            assert!(!postfix.log().contains("fatal:"), "Postfix: {}", postfix.log());
            let answers = || super::greets(namespace, options.port);
            postfix.log().contains("daemon started") && answers()
        });
        postfix
    }

    /// The process id of its master.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.master.0.id()
    }

    /// What it logged, and what it said before it had a log.
    #[must_use]
    pub fn log(&self) -> String {
        ["log", "out"]
            .map(|name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default())
            .concat()
    }

    /// The messages that it has delivered, whole, in no order.
    #[must_use]
    pub fn messages(&self) -> Vec<Vec<u8>> {
        super::maildirs(&self.folder.path().join("mail"))
    }

    /// Waits until it has delivered so many, and gives them.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[must_use]
    pub fn wait_for(&self, count: usize) -> Vec<Vec<u8>> {
        let start = Instant::now();
        loop {
            let messages = self.messages();
            if messages.len() >= count {
                return messages;
            }
            let log = self.log();
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{} of {count}: {log}",
                messages.len()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.master.terminate();
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

fn make_folders(root: &Path) {
    let make = |name: &str, owner: u32, group: u32, bits: u32| {
        let path = root.join(name);
        fs::create_dir_all(&path).expect("a folder");
        chown(&path, Some(owner), Some(group)).expect("root is needed");
        mode(&path, bits);
    };
    make("conf", 0, 0, 0o755);
    make("data", OWNER.1, 0, 0o755);
    make("mail", NOBODY, 0, 0o755);
    make("queue", 0, 0, 0o755);
    for name in [
        "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
        "saved", "trace",
    ] {
        make(&format!("queue/{name}"), OWNER.1, 0, 0o700);
    }
    make("queue/pid", 0, 0, 0o755);
    make("queue/public", OWNER.1, SETGID.1, 0o710);
    make("queue/maildrop", OWNER.1, SETGID.1, 0o730);
}

fn configure(root: &Path, options: &Options<'_>) {
    let programs: PathBuf = find("usr/lib/postfix/sbin/master");
    let daemons = programs.parent().expect("a folder");
    let libraries = daemons.parent().expect("a folder");
    let commands = find("postfix");
    let commands = commands.parent().expect("a folder");
    let maps: String = options
        .recipients
        .iter()
        .map(|recipient| format!("{recipient}={}/, ", recipient.replace('@', "_at_")))
        .collect();
    let Options { port, domains, main, master, .. } = options;
    let text = format!(
        "compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
command_directory = {commands}
daemon_directory = {daemons}
shlib_directory = {libraries}
meta_directory = {root}/conf
mail_owner = {owner}
setgid_group = {group}
default_privs = nobody
myhostname = backend.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = {root}/log
maillog_file_prefixes = {root}
virtual_mailbox_domains = {domains}
virtual_mailbox_base = {root}/mail
virtual_mailbox_maps = inline:{{ {maps} }}
virtual_uid_maps = static:{NOBODY}
virtual_gid_maps = static:{NOBODY}
virtual_minimum_uid = 100
virtual_mailbox_limit = 0
mailbox_size_limit = 0
message_size_limit = 60000000
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_recipient_restrictions = reject_unauth_destination
alias_maps =
local_recipient_maps =
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LD_LIBRARY_PATH
{main}
",
        root = root.display(),
        commands = commands.display(),
        daemons = daemons.display(),
        libraries = libraries.display(),
        owner = OWNER.0,
        group = SETGID.0,
        domains = domains.join(", "),
    );
    fs::write(root.join("conf/main.cf"), text).expect("written");
    fs::write(root.join("conf/master.cf"), services(*port, master)).expect("written");
}

/// `master.cf`.
fn services(port: u16, master: &str) -> String {
    format!(
        "127.0.0.1:{port} inet n - n - - smtpd
{master}
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"
    )
}
