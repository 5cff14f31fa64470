//! A machine of systemd's own: the host's root under an overlay, with systemd as its
//! first process, in namespaces of its own and the network of one of the test's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::daemon::wait_for;
use crate::netns::{Namespace, unique};
use crate::peers::{self, Process};

/// Where the machine's systemd is.
const INIT: &str = "lib/systemd/systemd";

/// Makes the machine in the folder `$1` and becomes its first process; `$2` is where
/// a systemd is unpacked, for a host that has none.
const BOOT: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1/machine"
mkdir "$1/machine/upper" "$1/machine/work" "$1/machine/root"
root="$1/machine/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/machine/upper,workdir=$1/machine/work" "$root"
if ! [ -x "$root/lib/systemd/systemd" ]; then
    tar -C "$2" -cf - lib/systemd usr/lib/systemd bin/systemctl bin/journalctl usr/bin/systemd-analyze \
        lib/x86_64-linux-gnu usr/lib/x86_64-linux-gnu |
        tar -C "$root" -xf - --keep-directory-symlink --skip-old-files
    chroot "$root" ldconfig
fi
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t bpf bpf "$root/sys/fs/bpf"
mount -t tmpfs tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
for folder in dev/shm run tmp etc/systemd/system var/log/journal; do
    mkdir -p "$root/$folder"
    mount -t tmpfs tmpfs "$root/$folder"
done
# Nothing that the host would mount, and no ban of an image on starting services.
: > "$root/etc/fstab"
rm -f "$root/usr/sbin/policy-rc.d"
cp -a "$1/files/." "$root/"
cd "$root"
mkdir -p old-root
pivot_root . old-root
umount -l /old-root
exec env -i container=mxdp-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=basic.target
"#;

/// A running machine, ended when dropped; nothing of it is left then.
pub struct Machine {
    process: Process,
    first: String,
    cgroup: PathBuf,
    folder: TempDir,
}

impl Machine {
    /// Boots one in the network of `namespace`, with `files` at their paths.
    ///
    /// # Panics
    ///
    /// When it does not boot: root is needed, and control groups of version 2.
    #[must_use]
    pub fn boot(namespace: &Namespace, files: &[(&str, &[u8])]) -> Self {
        let folder = TempDir::with_prefix("mxdp-machine-").expect("a folder");
        fs::create_dir(folder.path().join("machine")).expect("a folder");
        fs::create_dir(folder.path().join("files")).expect("a folder");
        for (path, content) in files {
            put(&folder.path().join("files").join(path.trim_start_matches('/')), content);
        }
        let cgroup = control_groups().join(unique("mxdp-test"));
        fs::create_dir(&cgroup).expect("a control group (root is needed)");
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let child = namespace
            .command("sh")
            .args(["-ec", r#"echo $$ > "$0/cgroup.procs"; exec "$@""#])
            .arg(&cgroup)
            .args(["unshare", "--fork", "--kill-child", "--pid", "--mount", "--uts", "--ipc"])
            .args(["--cgroup", "sh", "-c", BOOT, "boot"])
            .arg(folder.path())
            .arg(peers::peers().unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("sh starts");
        let mut machine = Self { process: Process(child), first: String::new(), cgroup, folder };
        machine.wait_until_up();
        machine
    }

    fn wait_until_up(&mut self) {
        let id = self.process.0.id();
        let children = format!("/proc/{id}/task/{id}/children");
        wait_for("the machine's systemd", || {
            let ended = self.process.0.try_wait().expect("its state");
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "the machine ended: {log}");
            let child = fs::read_to_string(&children).unwrap_or_default();
            child.trim().clone_into(&mut self.first);
            let program = fs::read_link(format!("/proc/{}/exe", self.first));
            program.is_ok_and(|path| path.ends_with(INIT))
        });
        wait_for("the end of its boot", || {
            let state = self.output(&["systemctl", "is-system-running"]);
            // Units of the host that cannot work here do not matter.
            ["running\n", "degraded\n"].iter().any(|good| state.stdout == good.as_bytes())
        });
    }

    /// Runs a command in the machine.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn output(&self, words: &[&str]) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w", "-t", &self.first]);
        command.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"]);
        command.args(words).stdin(Stdio::null()).output().expect("nsenter starts")
    }

    /// Runs a command that must succeed; returns what it printed.
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {text}{error}\n{}", self.journal());
        text
    }

    /// A property of a unit.
    #[must_use]
    pub fn show(&self, unit: &str, property: &str) -> String {
        self.run(&["systemctl", "show", "--value", "-p", property, unit]).trim().to_owned()
    }

    /// What units logged.
    #[must_use]
    pub fn journal(&self) -> String {
        let output = self.output(&["journalctl", "--no-pager", "-o", "cat", "-u", "mxdp*"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A path of the machine, as the test sees it.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.first))
    }

    /// Writes a file of the machine.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        put(&self.path(path), content.as_ref());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its first process goes with it, and with that all others.
        _ = self.process.0.kill();
        _ = self.process.0.wait();
        for _ in 0..250 {
            if remove_group(&self.cgroup) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        eprintln!("{} cannot be removed", self.cgroup.display());
    }
}

fn put(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("a mode");
}

/// Where control groups of version 2 are.
fn control_groups() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts");
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let found = fields.find(|fields| fields.get(2) == Some(&"cgroup2"));
    PathBuf::from(found.expect("control groups of version 2")[1])
}

/// Removes a control group and those in it; whether it is gone.
fn remove_group(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_group(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok()
}
