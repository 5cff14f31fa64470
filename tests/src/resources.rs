//! What a process holds of the kernel: memory, descriptors, maps, programs, links.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// How often, and how far apart, a process is looked at to find it at rest.
const LOOKS: (usize, Duration) = (40, Duration::from_millis(25));

/// What a process holds at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Resident memory, in bytes.
    pub resident: u64,
    /// Open descriptors of every kind.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
    /// The ids of the BPF maps that descriptors are open to.
    pub maps: BTreeSet<u32>,
    /// Descriptors of BPF programs.
    pub programs: usize,
    /// Descriptors of BPF links.
    pub links: usize,
}

impl Held {
    /// What the process of an id holds now.
    ///
    /// # Panics
    ///
    /// When the process does not exist.
    #[must_use]
    pub fn by(pid: u32) -> Self {
        let folder = format!("/proc/{pid}");
        let status = fs::read_to_string(format!("{folder}/status")).expect("the process runs");
        let mut held = Self {
            resident: number(&status, "VmRSS:").expect("its memory") * 1024,
            threads: usize::try_from(number(&status, "Threads:").expect("threads")).unwrap_or(0),
            ..Self::default()
        };
        for entry in fs::read_dir(format!("{folder}/fd")).expect("its descriptors").flatten() {
            // A descriptor that was closed meanwhile does not count.
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            held.descriptors += 1;
            match target.to_string_lossy().trim_start_matches("anon_inode:") {
                "bpf-map" => {
                    let info = Path::new(&folder).join("fdinfo").join(entry.file_name());
                    let text = fs::read_to_string(info).unwrap_or_default();
                    let id = number(&text, "map_id:").and_then(|id| u32::try_from(id).ok());
                    held.maps.extend(id);
                }
                "bpf-prog" => held.programs += 1,
                "bpf_link" => held.links += 1,
                _ => {}
            }
        }
        held
    }

    /// What the process of an id holds while it does nothing: of many looks within a
    /// second the one with the fewest descriptors. A connection that a client has ended
    /// is open for a moment longer in the process; what is kept is there at every look.
    ///
    /// # Panics
    ///
    /// As [`Held::by`].
    #[must_use]
    pub fn at_rest(pid: u32) -> Self {
        let (times, apart) = LOOKS;
        let looks = (0..times).map(|_| {
            thread::sleep(apart);
            Self::by(pid)
        });
        looks.min_by_key(|held| held.descriptors).expect("at least one look")
    }
}

/// The processor time that the process with an id has used.
///
/// # Panics
///
/// When the process does not exist.
#[must_use]
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let fields: Vec<u64> = fields.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // utime and stime, after the letter of the state and ten numbers; in hundredths.
    Duration::from_millis((fields[10] + fields[11]) * 10)
}

/// The number after a name at the beginning of a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
