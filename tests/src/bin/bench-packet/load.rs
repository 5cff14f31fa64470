//! The generator, with a host of its own to make frames on.

use std::time::Duration;

use anyhow::Result;
use filter_common::Family;
use mxdp_tests::generator::{self, Way};
use mxdp_tests::netns::Namespace;

use crate::lane::Lane;

pub(crate) use generator::{PREPARED, Pauses, Sources};

/// The generator, and its host.
pub(crate) struct Generator {
    generator: generator::Generator,
    /// The namespace where the frames are made, with the devices that they go into.
    pub(crate) home: Namespace,
}

impl Generator {
    /// Loads the programs; `cpu` is the one on which all happens.
    pub(crate) fn new(cpu: usize) -> Result<Self> {
        let generator = generator::Generator::new(cpu)?;
        Ok(Self { generator, home: Namespace::new("mxl") })
    }

    /// Attaches the program that drops everything.
    pub(crate) fn attach_floor(&mut self, lane: &Lane) -> Result<()> {
        self.generator.attach_floor(&lane.host, Lane::DEVICE)
    }

    /// Prepares the sources of the next frames.
    pub(crate) fn prepare(&mut self, sources: &Sources<'_>) -> Result<()> {
        self.generator.prepare(sources)
    }

    /// Sends SYNs into a lane, and returns the mean time of one.
    pub(crate) fn send(
        &mut self,
        lane: &Lane,
        family: Family,
        first: u64,
        frames: u32,
    ) -> Result<Duration> {
        let way = Way { home: &self.home, index: lane.index };
        self.generator.send(&way, family, first, frames)
    }

    /// The same, and returns the pauses.
    pub(crate) fn send_and_watch(
        &mut self,
        lane: &Lane,
        family: Family,
        first: u64,
        frames: u32,
    ) -> Result<Pauses> {
        let way = Way { home: &self.home, index: lane.index };
        self.generator.send_and_watch(&way, family, first, frames)
    }
}
