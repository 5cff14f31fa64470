//! What is compared: each on a host of its own, filled with the same lists, and
//! each dropping every SYN and counting apart those that are listed.

use std::fmt;
use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use aya::maps::{MapData, RingBuf};
use filter_common::abi::Settings;
use filter_common::{Family, Reason};
use mxdp::config::{Engine, KernelLog, Mode};
use mxdp::io::kernel::{Capacities, Change, Filter, Layout, Options, Prepared};
use mxdp_tests::netns::Namespace;

use crate::contest::{Contender, Counts};
use crate::lane::Lane;
use crate::lists::Lists;
use crate::load::Generator;
use crate::rivals::{Ipset, Nftables, XdpFilter};
use crate::workload::Workload;

/// The program that drops everything.
pub(crate) struct Floor(pub(crate) Lane);

impl Contender for Floor {
    fn lane(&self) -> &Lane {
        &self.0
    }

    fn counts(&mut self) -> Result<Option<Counts>> {
        Ok(None)
    }
}

/// All that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Floor,
    Mxdp(Layout),
    Ipset,
    Nftables,
    XdpFilter,
}

impl Kind {
    /// In the order in which they take turns: the floor is the first.
    pub(crate) const ALL: [Self; 6] = [
        Self::Floor,
        Self::Mxdp(Layout::Trie),
        Self::Mxdp(Layout::Ranges),
        Self::Ipset,
        Self::Nftables,
        Self::XdpFilter,
    ];

    /// The name on the command line and in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Mxdp(Layout::Trie) => "trie",
            Self::Mxdp(Layout::Ranges) => "ranges",
            Self::Ipset => "ipset",
            Self::Nftables => "nftables",
            Self::XdpFilter => "xdp-filter",
        }
    }

    /// Whether it can be asked about sources of this kind: xdp-filter has no
    /// prefixes.
    pub(crate) fn knows(self, workload: Workload) -> bool {
        self != Self::XdpFilter || workload == Workload::One
    }

    /// Builds it on a host of its own, filled with the lists.
    pub(crate) fn build(
        self,
        generator: &mut Generator,
        lists: &Lists,
        one: IpAddr,
    ) -> Result<Box<dyn Contender>> {
        let home = &generator.home;
        Ok(match self {
            Self::Floor => {
                let lane = Lane::new(home)?;
                generator.attach_floor(&lane)?;
                Box::new(Floor(lane))
            }
            Self::Mxdp(layout) => Box::new(Mxdp::new(home, layout, lists)?),
            Self::Ipset => Box::new(Ipset::new(home, lists)?),
            Self::Nftables => Box::new(Nftables::new(home, lists)?),
            Self::XdpFilter => Box::new(XdpFilter::new(home, one)?),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Floor => "XDP_DROP (floor)",
            Self::Mxdp(Layout::Trie) => "mxdp, LPM trie",
            Self::Mxdp(Layout::Ranges) => "mxdp, ranges",
            Self::Ipset => "ipset, raw PREROUTING",
            Self::Nftables => "nftables, ingress",
            Self::XdpFilter => "xdp-filter",
        })
    }
}

/// The tables in a layout.
fn tables(layout: Layout, lists: &Lists) -> Result<Prepared> {
    let engine = match layout {
        Layout::Trie => Engine::Trie,
        Layout::Ranges => Engine::Ranges,
    };
    Prepared::build(&lists.table, engine, |_| ())
}

/// mxdp's program, loaded.
pub(crate) fn open() -> Result<Filter> {
    let capacities = Capacities { temporary: 65_536, syn_rate: 65_536 };
    Filter::open(&Options { capacities, kernel_log: KernelLog::Off, pin: None })
}

/// The settings that it is measured with.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::new(1);
    for port in [25, 465, 587] {
        settings.protect(port);
    }
    // The default: drops are sampled as they are in use.
    settings.events_per_second = 256;
    settings
}

/// mxdp's program, attached natively.
pub(crate) struct Mxdp {
    lane: Lane,
    filter: Filter,
    events: RingBuf<MapData>,
    family: Family,
}

impl Mxdp {
    pub(crate) fn new(home: &Namespace, layout: Layout, lists: &Lists) -> Result<Self> {
        let files = tables(layout, lists)?;
        let lane = Lane::new(home)?;
        let mut filter = open()?;
        filter.publish(&Change { files: Some(files), settings: Some(settings()) })?;
        lane.host.run(|| filter.attach(&[Lane::DEVICE.to_owned()], Mode::Native))?;
        let events = filter.take_events()?;
        Ok(Self { lane, filter, events, family: lists.family })
    }
}

impl Contender for Mxdp {
    fn lane(&self) -> &Lane {
        &self.lane
    }

    fn counts(&mut self) -> Result<Option<Counts>> {
        // As the daemon does: a full ring would take another way.
        while self.events.next().is_some() {}
        let mut counts = Counts::default();
        for (reason, family, frames) in self.filter.counters().context("counters")? {
            match reason {
                Reason::BlockedIp if family == self.family => counts.listed = frames,
                Reason::BlockedCountry if family == self.family => counts.unlisted = frames,
                _ => ensure!(
                    frames == 0,
                    "mxdp counted {frames} frames of {} as {}",
                    family.name(),
                    reason.name()
                ),
            }
        }
        Ok(Some(counts))
    }
}
