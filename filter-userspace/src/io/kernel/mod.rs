//! The kernel's side: program, maps, links and pins.
//!
//! [`Filter`] is the one handle. In: compiled tables and settings. Out: counters, events and the
//! program's own answers. Which entry is listed where, and when a block expires, is decided
//! elsewhere.

mod attach;
mod bpf;
mod carry;
mod dry_run;
mod elsewhere;
mod event;
mod heap;
mod inherited;
mod interfaces;
mod managed;
mod netlink;
mod object;
mod pins;
mod pod;
mod tables;
mod temporary;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use filter_common::abi::{COUNTERS, Managed, counter_index, maps};
use filter_common::{ClassSet, Family, Reason};
use ipnet::IpNet;

pub use attach::Attachment;
pub use event::read_event;
pub use heap::give_back;
pub use inherited::inherited_sockets;
pub use netlink::AttachedMode;
pub use object::Capacities;
pub use pins::Pins;
pub use tables::{Change, Layout, Layouts, Prepared};
pub use temporary::{Inserted, TemporaryBlocks};

use carry::{carried_blocks, carried_counters, count_on};
use object::take;
use pins::{FoundLink, Lock};
use pod::SamplerPod;
use tables::Tables;

use crate::config::KernelLog;

/// Managed entries by prefix.
pub type Managing = HashMap<IpNet, Managed>;

/// How to open a filter.
#[derive(Clone, Debug)]
pub struct Options {
    /// The sizes of its maps.
    pub capacities: Capacities,
    /// What the program logs about itself.
    pub kernel_log: KernelLog,
    /// The pin directory, if the filter is to outlive the daemon.
    pub pin: Option<PathBuf>,
}

/// The loaded program and its maps.
pub struct Filter {
    ebpf: Ebpf,
    tables: Tables,
    temporary: TemporaryBlocks,
    /// Whether they come from a former daemon's filter.
    blocks_outlived: bool,
    counters: PerCpuArray<MapData, u64>,
    sampler: PerCpuArray<MapData, SamplerPod>,
    pins: Option<Pins>,
    /// Held as long as this process may change the pins.
    lock: Option<Lock>,
    /// Links of a former daemon that have not been taken over yet.
    found: Vec<FoundLink>,
    attachments: Vec<Attachment>,
    /// Pins of links that were taken over from elsewhere, until they are not needed.
    foreign: Vec<PathBuf>,
}

impl Filter {
    /// Loads the program. Pinned maps of a former daemon are taken over if they fit; if they do
    /// not, new ones replace them once the filter is attached, and the temporary blocks are carried
    /// over.
    ///
    /// Nothing is attached yet, and a former daemon's filter continues.
    ///
    /// # Errors
    ///
    /// Without the privilege, or when the kernel refuses.
    pub fn open(options: &Options) -> Result<Self> {
        let pins = options.pin.as_deref().map(Pins::new);
        let mut found = Vec::new();
        let mut carried = Vec::new();
        let mut counted = Vec::new();
        let mut blocks_outlived = false;
        let mut take_over = false;
        let mut lock = None;
        if let Some(pins) = &pins {
            lock = Some(pins.create()?);
            found = pins.links();
            take_over = pins.maps_match(&found, options.capacities);
            if !take_over {
                let blocks: Vec<_> = found.iter().filter_map(carried_blocks).collect();
                blocks_outlived = !blocks.is_empty();
                carried = blocks.concat();
                counted = found.first().map(carried_counters).unwrap_or_default();
            }
        }
        let folder = pins.as_ref().filter(|_| take_over).map(Pins::folder);
        let mut ebpf = object::load(options.capacities, options.kernel_log, folder)?;
        if let (Some(pins), false) = (&pins, take_over) {
            // The old maps stay in use by the attached program until it is replaced.
            pins.pin_maps(ebpf.maps())?;
        }
        let mut temporary =
            TemporaryBlocks::new(take(&mut ebpf, maps::TEMPORARY)?, options.capacities.temporary)?;
        for (key, block) in carried {
            if let Err(error) = temporary.insert(key, block) {
                tracing::warn!("not all temporary blocks were carried over: {error:#}");
                break;
            }
        }
        let mut counters: PerCpuArray<_, u64> = take(&mut ebpf, maps::COUNTERS)?.try_into()?;
        count_on(&mut counters, counted)?;
        Ok(Self {
            tables: Tables::take(&mut ebpf)?,
            temporary,
            blocks_outlived: take_over || blocks_outlived,
            counters,
            sampler: take(&mut ebpf, maps::SAMPLER)?.try_into()?,
            pins,
            lock,
            found,
            attachments: Vec::new(),
            foreign: Vec::new(),
            ebpf,
        })
    }

    /// Searches these interfaces for filters of mxdp that a daemon with another `filter.pin` or
    /// `filter.persist` has left: they are taken over when the filter is attached, and their
    /// temporary blocks and counters are carried over now.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn look_elsewhere(&mut self, interfaces: &[String]) -> Result<()> {
        let found = match elsewhere::abandoned(interfaces, &self.found) {
            Ok(found) => found,
            Err(error) => {
                // If there is one, attaching reports it.
                tracing::warn!("cannot search for other filters of mxdp: {error:#}");
                return Ok(());
            }
        };
        for found in found {
            let pins = found.pins.clone();
            let Some(found) = found.into_found() else { continue };
            tracing::info!(
                interface = found.interface,
                pin = %found.path.display(),
                "a filter that is pinned elsewhere is taken over"
            );
            for (key, block) in carried_blocks(&found).unwrap_or_default() {
                if self.temporary.get(key)?.is_none()
                    && let Err(error) = self.temporary.insert(key, block)
                {
                    tracing::warn!("not all temporary blocks were carried over: {error:#}");
                    break;
                }
            }
            if !self.blocks_outlived {
                count_on(&mut self.counters, carried_counters(&found))?;
            }
            self.blocks_outlived = true;
            self.foreign.extend(pins);
            self.found.push(found);
        }
        Ok(())
    }

    /// Starts the program's own log lines, as `tracing` events.
    ///
    /// # Errors
    ///
    /// When the object was loaded without them.
    pub fn take_log(&mut self) -> Result<aya_log::EbpfLogger<&'static dyn log::Log>> {
        aya_log::EbpfLogger::init(&mut self.ebpf).context("the program's log")
    }

    /// The ring of sampled events; it can be taken once.
    ///
    /// # Errors
    ///
    /// When it was taken.
    pub fn take_events(&mut self) -> Result<RingBuf<MapData>> {
        Ok(take(&mut self.ebpf, maps::EVENTS)?.try_into()?)
    }

    /// Activates a generation, all of the change at once.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; what was active stays active.
    pub fn publish(&mut self, change: &Change) -> Result<()> {
        self.tables.publish(change)
    }

    /// Sets the managed entries of prefixes, or removes them.
    ///
    /// # Errors
    ///
    /// When the kernel refuses one; those before it are changed.
    pub fn manage(&mut self, changes: &[(IpNet, Option<Managed>)]) -> Result<()> {
        self.tables.manage(changes)
    }

    /// Replaces all managed entries by these.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn manage_exactly(&mut self, wanted: &Managing) -> Result<()> {
        let mut changes: Vec<_> = wanted.iter().map(|(net, entry)| (*net, Some(*entry))).collect();
        let others = self.tables.managed_besides(wanted);
        changes.extend(others.into_iter().map(|net| (net, None)));
        self.tables.manage(&changes)
    }

    /// The number of the active generation, 0 if there is none.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn generation(&self) -> Result<u64> {
        Ok(self.tables.settings()?.map_or(0, |settings| settings.generation))
    }

    /// The interfaces with the filter.
    #[must_use]
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// The temporary blocks.
    pub fn temporary(&mut self) -> &mut TemporaryBlocks {
        &mut self.temporary
    }

    /// Whether the temporary blocks come from a former daemon's filter: they outlived it, even if
    /// there are none.
    #[must_use]
    pub const fn blocks_outlived(&self) -> bool {
        self.blocks_outlived
    }

    /// The frames of each reason and family, over all CPUs.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn counters(&self) -> Result<Vec<(Reason, Family, u64)>> {
        let mut frames = Vec::with_capacity(COUNTERS);
        for reason in Reason::ALL {
            for family in Family::ALL {
                let values = self.counters.get(&counter_index(reason, family), 0)?;
                frames.push((reason, family, values.iter().sum()));
            }
        }
        Ok(frames)
    }

    /// The frames whose events found the ring full.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn lost_events(&self) -> Result<u64> {
        Ok(self.sampler.get(&0, 0)?.iter().map(|sampler| sampler.0.lost).sum())
    }

    /// The program's verdict on a SYN from `source` to `port`, by a test run that changes no
    /// counter.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the test run.
    pub fn ask(&mut self, source: IpAddr, port: u16) -> Result<(Reason, ClassSet)> {
        self.ask_about(&dry_run::syn(source, port))
    }

    /// The program's verdict on an Ethernet frame of at least 14 bytes, in the same way.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the test run.
    pub fn ask_about(&mut self, frame: &[u8]) -> Result<(Reason, ClassSet)> {
        dry_run::ask(object::program(&mut self.ebpf)?, frame)
    }

    /// Runs the program on an Ethernet frame `repeat` times as if it had arrived, with counters,
    /// and returns its XDP action and the mean time of a run. For tests and benchmarks.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the test run.
    pub fn run_on(&mut self, frame: &[u8], repeat: u32) -> Result<(u32, Duration)> {
        dry_run::run(object::program(&mut self.ebpf)?, frame, repeat)
    }

    /// The id of the loaded program.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn program_id(&mut self) -> Result<u32> {
        Ok(object::program(&mut self.ebpf)?.info()?.id())
    }

    /// The number of instructions that the verifier processed to accept the program, out of a
    /// million permitted; `None` if the kernel does not report it (before 5.16).
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn verified_instructions(&mut self) -> Result<Option<u32>> {
        Ok(object::program(&mut self.ebpf)?.info()?.verified_instruction_count())
    }

    /// Detaches the filter from every interface and removes its pins, and returns when the kernel
    /// has done so.
    ///
    /// # Errors
    ///
    /// When a pin cannot be removed or another process holds a link.
    pub fn detach(mut self) -> Result<Vec<String>> {
        let program = self.program_id()?;
        let interfaces: Vec<_> =
            self.attachments.drain(..).map(|attachment| attachment.interface).collect();
        let pins = self.pins.take();
        // No other daemon may take the pins over before they are gone.
        let lock = self.lock.take();
        drop(self);
        if let Some(pins) = pins {
            pins.remove_all()?;
        }
        drop(lock);
        for interface in &interfaces {
            attach::wait_until_gone(interface, program)?;
        }
        Ok(interfaces)
    }
}

impl Drop for Filter {
    /// Pins keep the filter of a daemon that ends. If none was attached, for example after a start
    /// that failed, they would keep maps that nothing uses.
    fn drop(&mut self) {
        let Some(pins) = &self.pins else {
            return;
        };
        if pins.links().is_empty()
            && let Err(error) = pins.remove_all()
        {
            tracing::warn!("pins are left behind: {error:#}");
        }
    }
}

/// Detaches every filter of mxdp in this network namespace that no running process holds, wherever
/// it is pinned. Returns the interfaces, and in words why others are still filtered.
///
/// # Errors
///
/// When the kernel cannot be queried.
pub fn detach_attached() -> Result<(Vec<String>, Vec<String>)> {
    elsewhere::detach_all()
}

/// Detaches everything that is pinned under `base`, without a daemon.
///
/// # Errors
///
/// When a daemon uses them, or a pin cannot be removed.
pub fn detach_pinned(base: &Path) -> Result<Vec<String>> {
    if !base.exists() {
        return Ok(Vec::new());
    }
    let pins = Pins::new(base);
    let _lock = pins.lock()?;
    pins.remove_all()
}
