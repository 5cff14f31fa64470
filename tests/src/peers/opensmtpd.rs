//! A real OpenSMTPD. Its users and folders are compiled in, so it runs in an
//! overlay of the root that only its own mount namespace sees.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use tempfile::TempDir;

use super::{Process, environment, find};
use crate::daemon::wait_for;
use crate::netns::Namespace;

/// Puts the overlay together and becomes smtpd in it. Arguments: the folder, the
/// program, and the folder of its helpers.
const SCRIPT: &str = r#"
set -e
folder=$1 program=$2 helpers=$3
mount --make-rprivate /
mkdir -p "$folder/over"
mount -t tmpfs tmpfs "$folder/over"
over=$folder/over root=$folder/over/root
mkdir "$over/upper" "$over/work" "$root"
mount -t overlay overlay -o lowerdir=/,upperdir="$over/upper",workdir="$over/work" "$root"
mkdir -p "$root/usr/libexec/opensmtpd" "$root/var/lib/opensmtpd/empty" "$root/var/vmail" "$root/var/spool/smtpd"
cp -a "$helpers"/. "$root/usr/libexec/opensmtpd/"
cat >> "$root/etc/passwd" <<P
opensmtpd:x:991:991::/var/lib/opensmtpd/empty:/bin/false
opensmtpq:x:992:992::/var/lib/opensmtpd/empty:/bin/false
vmail:x:993:993::/var/vmail:/bin/false
P
printf 'opensmtpd:x:991:\nopensmtpq:x:992:\nvmail:x:993:\n' >> "$root/etc/group"
chown 993:993 "$root/var/vmail" "$folder/mail"
for queue in purge temporary incoming queue corrupt offline; do
    mkdir -p "$root/var/spool/smtpd/$queue"
    chmod 700 "$root/var/spool/smtpd/$queue"
    chown 992 "$root/var/spool/smtpd/$queue"
done
chown 0:992 "$root/var/spool/smtpd/offline"
chmod 770 "$root/var/spool/smtpd/offline"
chmod 711 "$root/var/spool/smtpd"
mount --bind "$folder/mail" "$root$folder/mail"
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
exec chroot "$root" "$program" -d -f "$folder/smtpd.conf"
"#;

/// A running OpenSMTPD, ended when dropped.
pub struct OpenSmtpd {
    folder: TempDir,
    smtpd: Process,
}

impl OpenSmtpd {
    /// Starts one on 127.0.0.1 of a namespace, for some recipients of some
    /// domains, and waits until it answers.
    #[must_use]
    pub fn start(namespace: &Namespace, port: u16, domains: &[&str], recipients: &[&str]) -> Self {
        let folder = TempDir::with_prefix("mxdp-opensmtpd-").expect("a folder");
        let path = folder.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
        fs::create_dir(path.join("mail")).expect("a folder");
        let table: Vec<_> = recipients.iter().map(|one| format!("{one} = vmail")).collect();
        let quoted: Vec<_> = domains.iter().map(|domain| format!("\"{domain}\"")).collect();
        let text = format!(
            "table recipients {{ {} }}\n\
             smtp max-message-size \"60M\"\n\
             listen on 127.0.0.1 port {port} hostname opensmtpd.example\n\
             action deliver maildir \"{}/mail/%{{rcpt.user}}\" virtual <recipients>\n\
             match from any for domain {{ {} }} action deliver\n",
            table.join(", "),
            path.display(),
            quoted.join(", "),
        );
        fs::write(path.join("smtpd.conf"), text).expect("written");
        let log = fs::File::create(path.join("log")).expect("a log");
        let child = namespace
            .command("unshare")
            .args(["-m", "sh", "-c", SCRIPT, "sh"])
            .arg(path)
            .arg(find("smtpd"))
            .arg(find("usr/libexec/opensmtpd/mail.maildir").parent().expect("a folder"))
            .envs(environment())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("unshare starts");
        let smtpd = Self { folder, smtpd: Process(child) };
        wait_for("OpenSMTPD", || super::greets(namespace, port));
        smtpd
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The messages that it has delivered, whole, in no order.
    #[must_use]
    pub fn messages(&self) -> Vec<Vec<u8>> {
        super::maildirs(&self.folder.path().join("mail"))
    }

    /// Waits until it has delivered so many, and gives them.
    #[must_use]
    pub fn wait_for(&self, count: usize) -> Vec<Vec<u8>> {
        wait_for("OpenSMTPD's delivery", || self.messages().len() >= count);
        self.messages()
    }
}

impl Drop for OpenSmtpd {
    fn drop(&mut self) {
        self.smtpd.terminate();
    }
}
