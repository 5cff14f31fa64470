//! A generator of SYNs: an XDP program that is run on live frames and sends them into a
//! device, as fast as one core makes them.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, MapData};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use filter_common::Family;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::frames::{SYN, TCP, V4, tcp, v6_frame};
use crate::netns::Namespace;

/// The benchmark's own programs, built with mxdp's.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("MXDP_BENCH_OBJECT"));

/// The most addresses that are prepared, as the program has it.
pub const PREPARED: usize = 1 << 20;

/// Frames that are made before the device's queue, of 256, is served: as many as
/// its poll takes at once, so that none finds the queue full.
const BATCH: u32 = 64;

/// Where the SYNs come from.
pub enum Sources<'a> {
    /// Uniformly random addresses.
    Random,
    /// These, round and round; their number is a power of two.
    Walk(&'a [IpAddr]),
}

/// Where frames go: a device, by its index, of the namespace in which they are made.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// The namespace.
    pub home: &'a Namespace,
    /// The device's index.
    pub index: u32,
}

/// The generator, and the floor's program beside it.
pub struct Generator {
    ebpf: Ebpf,
    cpu: usize,
    target: Array<MapData, u32>,
    next: Array<MapData, u64>,
    walk: Array<MapData, u32>,
    sources: Array<MapData, [u8; 16]>,
    sums: Array<MapData, u32>,
    pause: Array<MapData, [u64; 3]>,
}

/// The times between two frames that were sent one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pauses {
    /// The longest.
    pub longest: Duration,
    /// How many were over a millisecond.
    pub long: u64,
}

impl Generator {
    /// Loads the programs; `cpu` is the one on which all happens.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn new(cpu: usize) -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(OBJECT).context("the generator")?;
        for name in ["load", "floor"] {
            program(&mut ebpf, name)?.load().with_context(|| format!("the program {name}"))?;
        }
        Ok(Self {
            cpu,
            target: take(&mut ebpf, "TARGET")?.try_into()?,
            next: take(&mut ebpf, "NEXT")?.try_into()?,
            walk: take(&mut ebpf, "WALK")?.try_into()?,
            sources: take(&mut ebpf, "SOURCES")?.try_into()?,
            sums: take(&mut ebpf, "SUMS")?.try_into()?,
            pause: take(&mut ebpf, "PAUSE")?.try_into()?,
            ebpf,
        })
    }

    /// Attaches the program that drops everything to a device of a host.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn attach_floor(&mut self, host: &Namespace, device: &str) -> Result<()> {
        let floor = program(&mut self.ebpf, "floor")?;
        host.run(|| floor.attach(device, XdpMode::Driver)).context("the floor")?;
        Ok(())
    }

    /// Prepares the sources of the next frames.
    ///
    /// # Errors
    ///
    /// When their number is not a power of two, or is too large; and the kernel's errors.
    pub fn prepare(&mut self, sources: &Sources<'_>) -> Result<()> {
        let Sources::Walk(addresses) = sources else {
            return Ok(self.walk.set(0, 0, 0)?);
        };
        let count = addresses.len();
        ensure!(count.is_power_of_two() && count <= PREPARED, "{count} sources");
        for (index, address) in (0..).zip(*addresses) {
            let mut bytes = [0; 16];
            match address {
                IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
                IpAddr::V6(address) => bytes = address.octets(),
            }
            self.sources.set(index, bytes, 0)?;
        }
        Ok(self.walk.set(0, u32::try_from(count)?, 0)?)
    }

    /// Sends `frames` SYNs to port 25 of 203.0.113.25 or 2001:db8:ffff::25 into the
    /// device of a way, from the source of number `first` on, and returns the mean time
    /// of one, from its making to its drop.
    ///
    /// # Errors
    ///
    /// The kernel's, or when not all frames were made.
    pub fn send(
        &mut self,
        way: &Way<'_>,
        family: Family,
        first: u64,
        frames: u32,
    ) -> Result<Duration> {
        let (frame, sums) = syn(family);
        for (index, sum) in (0..).zip(sums) {
            self.sums.set(index, sum, 0)?;
        }
        self.target.set(0, way.index, 0)?;
        self.next.set(0, first, 0)?;
        let load = program(&mut self.ebpf, "load")?;
        let cpu = self.cpu;
        let time = way.home.run(|| -> Result<Duration> {
            // What the frames set off, the kernel does on the core that sent them.
            let mut cpus = CpuSet::new();
            cpus.set(cpu)?;
            sched_setaffinity(Pid::from_raw(0), &cpus).context("sched_setaffinity")?;
            // The kernel's own clock leaves out its preparations and the time in
            // which it lets others have the core.
            let result = load.test_run(TestRunOptions {
                data_in: Some(&frame),
                repeat: frames,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::new()
            });
            Ok(result.context("a test run with live frames (kernel 5.18)")?.duration)
        })?;
        let sent = self.next.get(&0, 0)? - first;
        ensure!(sent == u64::from(frames), "{sent} frames were made instead of {frames}");
        Ok(time)
    }

    /// The same, and says what pauses there were. To look at the clock for each frame
    /// takes time of its own.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub fn send_and_watch(
        &mut self,
        way: &Way<'_>,
        family: Family,
        first: u64,
        frames: u32,
    ) -> Result<Pauses> {
        self.pause.set(0, [1, 0, 0], 0)?;
        self.send(way, family, first, frames)?;
        let [_, longest, long] = self.pause.get(&0, 0)?;
        self.pause.set(0, [0, 0, 0], 0)?;
        Ok(Pauses { longest: Duration::from_nanos(longest), long })
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    Ok(ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map> {
    ebpf.take_map(name).with_context(|| format!("no map {name}"))
}

/// A SYN from nowhere, and the sums of what its IPv4 and its TCP checksum are over.
fn syn(family: Family) -> (Vec<u8>, [u32; 2]) {
    let segment = tcp(25, SYN);
    let (frame, addresses) = if family == Family::V6 {
        (v6_frame("::", TCP, &segment), 22)
    } else {
        (V4::from("0.0.0.0").frame(&segment), 26)
    };
    let header = if family == Family::V6 { 0 } else { sum(&frame[14..34]) };
    let length = u32::try_from(segment.len()).expect("a segment's length");
    let pseudo = sum(&frame[addresses..]) + u32::from(TCP) + length;
    (frame, [header, pseudo])
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
}
