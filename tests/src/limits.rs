//! Limits of the kernel that tests set: descriptors, and memory by control groups.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::netns::unique;

/// Lets this process have as many descriptors as it may.
///
/// # Panics
///
/// When that is less than `needed`.
pub fn raise_descriptors(needed: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    assert!(hard >= needed, "{needed} descriptors are needed (`ulimit -Hn` says {hard})");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the limit is raised");
}

/// A control group with a limit of memory, of version 2 or 1, removed when dropped.
pub struct MemoryGroup {
    folder: PathBuf,
    /// The name of the file with the limit.
    limit: &'static str,
}

impl MemoryGroup {
    /// A new group that may take so many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let (root, limit) = if controllers.split_whitespace().any(|name| name == "memory") {
            fs::write(root.join("cgroup.subtree_control"), "+memory").expect("the controller");
            (root.to_owned(), "memory.max")
        } else {
            (root.join("memory"), "memory.limit_in_bytes")
        };
        let group = Self { folder: root.join(unique("mxdp-test-")), limit };
        fs::create_dir(&group.folder).expect("a control group for memory (root)");
        group.set(bytes);
        group
    }

    /// Sets the limit.
    pub fn set(&self, bytes: u64) {
        fs::write(self.folder.join(self.limit), bytes.to_string()).expect("a limit");
    }

    /// The file into which a process writes its id to be in the group.
    #[must_use]
    pub fn processes(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// The bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        let names = ["memory.current", "memory.usage_in_bytes"];
        let read = |name| fs::read_to_string(self.folder.join(name)).ok();
        let text = names.into_iter().find_map(read).expect("the usage");
        text.trim().parse().expect("a number")
    }

    /// How many of its processes the kernel killed for want of memory.
    #[must_use]
    pub fn killed(&self) -> u64 {
        let names = ["memory.events", "memory.oom_control"];
        let read = |name| fs::read_to_string(self.folder.join(name)).ok();
        let text = names.into_iter().find_map(read).expect("the events");
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.expect("a count (kernel 4.13)").trim().parse().expect("a number")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // A process that was killed leaves it a little later.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}
