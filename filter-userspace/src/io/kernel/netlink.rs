//! The XDP program on an interface, by rtnetlink.

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage, LinkXdp, XdpAttached,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// How an XDP program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachedMode {
    /// In the driver, before a socket buffer is made.
    Native,
    /// After a socket buffer is made: slow, for drivers without XDP.
    Generic,
    /// Another way: in hardware, or in several at once.
    Other,
}

impl AttachedMode {
    /// The name used in configuration and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Other => "other",
        }
    }
}

/// The XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttachedProgram {
    pub(super) mode: AttachedMode,
    pub(super) id: u32,
}

/// The XDP program on the interface of `ifindex`, if there is one.
pub(super) fn attached_program(ifindex: u32) -> Result<Option<AttachedProgram>> {
    let message = query(ifindex).context("rtnetlink")?;
    let xdp = message.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::Xdp(xdp) => Some(xdp),
        _ => None,
    });
    let mut mode = None;
    let mut id = None;
    for attribute in xdp.unwrap_or_default() {
        match attribute {
            LinkXdp::Attached(XdpAttached::None) => return Ok(None),
            LinkXdp::Attached(XdpAttached::Driver) => mode = Some(AttachedMode::Native),
            LinkXdp::Attached(XdpAttached::SocketBuffer) => mode = Some(AttachedMode::Generic),
            LinkXdp::Attached(_) => mode = Some(AttachedMode::Other),
            LinkXdp::ProgId(program) => id = Some(program),
            LinkXdp::DrvProgId(program) | LinkXdp::SkbProgId(program) => {
                id.get_or_insert(program);
            }
            _ => {}
        }
    }
    Ok(mode.zip(id).map(|(mode, id)| AttachedProgram { mode, id }))
}

/// Whether the interface's frames begin with an Ethernet header.
pub(super) fn is_ethernet(ifindex: u32) -> Result<bool> {
    let message = query(ifindex).context("rtnetlink")?;
    Ok(matches!(message.header.link_layer_type, LinkLayerType::Ether | LinkLayerType::Loopback))
}

/// The interfaces below an interface, which see each of its frames first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stacking {
    /// The index of the interface that a VLAN or a MACVLAN is a part of.
    pub(super) part_of: Option<u32>,
    /// The index of the bond, team or bridge that it is a member of.
    pub(super) member_of: Option<u32>,
}

/// How an interface is stacked.
pub(super) fn stacking(ifindex: u32) -> Result<Stacking> {
    let message = query(ifindex).context("rtnetlink")?;
    let mut stacking = Stacking::default();
    let (mut lower, mut is_part, mut is_elsewhere) = (None, false, false);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::Link(index) => lower = Some(index),
            LinkAttribute::LinkNetNsId(_) => is_elsewhere = true,
            LinkAttribute::Controller(index) if index != 0 => stacking.member_of = Some(index),
            LinkAttribute::LinkInfo(infos) => {
                let is_kind = |info: &LinkInfo| {
                    use InfoKind::{IpVlan, MacVlan, MacVtap, Vlan};
                    matches!(info, LinkInfo::Kind(Vlan | MacVlan | MacVtap | IpVlan))
                };
                is_part = infos.iter().any(is_kind);
            }
            _ => {}
        }
    }
    if is_part && !is_elsewhere {
        stacking.part_of = lower;
    }
    Ok(stacking)
}

fn query(ifindex: u32) -> Result<LinkMessage> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;

    let mut link = LinkMessage::default();
    link.header.index = ifindex;
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(link));
    request.header.flags = NLM_F_REQUEST;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let (reply, _) = socket.recv_from_full()?;
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&reply)?.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Ok(link),
        NetlinkPayload::Error(error) => Err(error.to_io().into()),
        other => bail!("an unexpected answer: {other:?}"),
    }
}
