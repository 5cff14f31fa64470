//! Attaches the filter to interfaces, and keeps it there.

use anyhow::Result;
use nix::net::if_::{Interface, if_nameindex};

use super::netlink::stacking;
use super::pins::FoundLink;
use super::{Attachment, Filter, attach, elsewhere, object};
use crate::config::Mode;

impl Filter {
    /// Checks that these interfaces exist and carry Ethernet frames.
    ///
    /// # Errors
    ///
    /// Names the first that does not.
    pub fn require(&self, interfaces: &[String]) -> Result<()> {
        interfaces.iter().try_for_each(|interface| attach::require(interface))
    }

    /// Attaches the filter to exactly these interfaces: where it is attached already, under
    /// whatever name, it stays; links of a former daemon are taken over without interruption; from
    /// other interfaces it is detached. An interface that was filtered and is gone is awaited
    /// ([`Self::keep`]).
    ///
    /// # Errors
    ///
    /// Names the interface. Where the filter was attached or pinned before, it still is; no
    /// interface gains or loses it.
    pub fn attach(&mut self, interfaces: &[String], request: Mode) -> Result<()> {
        let interfaces = &not_covered(interfaces);
        let mut stays = vec![None; self.attachments.len()];
        let mut missing = Vec::new();
        let mut new = Vec::new();
        for interface in interfaces {
            let Ok(ifindex) = attach::index_of(interface) else {
                missing.push(interface);
                continue;
            };
            let is_on = |attachment: &Attachment| attachment.ifindex == ifindex;
            match self.attachments.iter().position(is_on) {
                Some(position) => stays[position] = Some(interface.clone()),
                None => new.push((interface, ifindex)),
            }
        }
        for interface in missing {
            let mut positions = 0..stays.len();
            let is_held =
                |&i: &usize| stays[i].is_none() && &self.attachments[i].interface == interface;
            match positions.find(is_held) {
                Some(position) => stays[position] = Some(interface.clone()),
                None => attach::require(interface)?,
            }
        }
        new.iter().try_for_each(|(interface, _)| attach::require(interface))?;
        let mut added = Vec::new();
        let mut was_filtered = Vec::new();
        for (interface, ifindex) in new {
            let found = self.take_found(interface, ifindex);
            was_filtered.push(found.is_some());
            let attached = object::program(&mut self.ebpf)
                .and_then(|program| attach::attach(program, interface, request, found));
            match attached {
                Ok(attachment) => added.push(attachment),
                Err(error) => {
                    self.leave_filtered(added.into_iter().zip(was_filtered));
                    return Err(error);
                }
            }
        }
        // From here on, only the bpf file system can fail.
        let former = std::mem::take(&mut self.attachments);
        for (mut attachment, stays) in former.into_iter().zip(stays) {
            let Some(name) = stays else {
                tracing::info!(interface = attachment.interface, "no longer filtered");
                continue;
            };
            if attachment.interface != name {
                tracing::info!(was = attachment.interface, now = name, "renamed");
                attachment.interface = name;
            }
            self.attachments.push(attachment);
        }
        self.attachments.append(&mut added);
        if let Some(pins) = &self.pins {
            for attachment in &mut self.attachments {
                attachment.pin(pins.link_path(&attachment.interface))?;
            }
            let paths: Vec<_> = interfaces.iter().map(|name| pins.link_path(name)).collect();
            pins.keep_only(&paths)?;
        }
        self.remove_foreign_pins();
        for left in self.found.drain(..) {
            tracing::info!(interface = left.interface, "no longer filtered");
        }
        Ok(())
    }

    /// Removes the pins of links that were taken over from elsewhere: they are pinned at the
    /// configured place now, or not at all.
    fn remove_foreign_pins(&mut self) {
        let kept: Vec<_> = self
            .pins
            .iter()
            .flat_map(|pins| self.attachments.iter().map(|one| pins.link_path(&one.interface)))
            .collect();
        for pin in self.foreign.drain(..).filter(|pin| !kept.contains(pin)) {
            if let Err(error) = elsewhere::remove_pin(&pin) {
                tracing::error!("a pin is left behind: {error:#}");
            }
        }
        if self.pins.is_none() {
            self.attachments.iter_mut().for_each(Attachment::forget_pin);
        }
    }

    /// After a failure on another interface: where the filter was, its pin keeps it, even if it had
    /// to be attached again; from others it is detached.
    fn leave_filtered(&self, attachments: impl Iterator<Item = (Attachment, bool)>) {
        let Some(pins) = &self.pins else { return };
        for (mut attachment, was_filtered) in attachments {
            if !was_filtered {
                continue;
            }
            if let Err(error) = attachment.pin(pins.link_path(&attachment.interface)) {
                tracing::error!("{}: the filter is off now: {error:#}", attachment.interface);
            }
        }
    }

    /// The link of a former daemon that is on an interface, or was on one of that name that is
    /// gone.
    fn take_found(&mut self, interface: &str, ifindex: u32) -> Option<FoundLink> {
        let is_on = |found: &FoundLink| found.ifindex == ifindex;
        let was_on = |found: &FoundLink| found.ifindex == 0 && found.interface == interface;
        let position = self.found.iter().position(is_on);
        let position = position.or_else(|| self.found.iter().position(was_on))?;
        Some(self.found.swap_remove(position))
    }

    /// The interfaces of attachments that exist and have this filter now.
    pub fn attached_now(&mut self) -> Vec<String> {
        let Ok(own) = self.program_id() else { return Vec::new() };
        let names = self.attachments.iter().filter(|attachment| {
            let now = attach::name_of(attachment.ifindex);
            now.is_some_and(|now| attach::program_on(&now).is_ok_and(|id| id == Some(own)))
        });
        names.map(|attachment| attachment.interface.clone()).collect()
    }

    /// The interfaces that are filtered and exist, and those together with `interfaces`.
    #[must_use]
    pub fn with(&self, interfaces: &[String]) -> (Vec<String>, Vec<String>) {
        let is_there = |attachment: &&Attachment| {
            attach::index_of(&attachment.interface).is_ok_and(|index| index == attachment.ifindex)
        };
        let before: Vec<_> =
            self.attachments.iter().filter(is_there).map(|one| one.interface.clone()).collect();
        let more = before.iter().filter(|name| !interfaces.contains(name));
        let both = interfaces.iter().chain(more).cloned().collect();
        (before, both)
    }

    /// Restores the filter where it is missing, for example on an interface that was removed and
    /// created again. Returns what cannot be repaired, one line each: another program in its place,
    /// or an interface that is gone.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be queried.
    pub fn keep(&mut self, request: Mode) -> Result<Vec<String>> {
        let own = self.program_id()?;
        let mut alarms = Vec::new();
        for position in 0..self.attachments.len() {
            let name = self.attachments[position].interface.clone();
            match attach::program_on(&name) {
                Ok(Some(id)) if id == own => {}
                Ok(Some(id)) => alarms.push(format!(
                    "{name}: another XDP program (id {id}) is attached; nothing is filtered there"
                )),
                Ok(None) => match self.attach_again(position, request) {
                    Ok(()) => tracing::warn!(
                        interface = name,
                        mode = self.attachments[position].mode.name(),
                        "the filter was gone from the interface, and is attached again"
                    ),
                    Err(error) => alarms.push(format!(
                        "{name}: the filter is no longer attached, and cannot be again: {error:#}"
                    )),
                },
                Err(error) => alarms.push(self.missing(position, &error)),
            }
        }
        Ok(alarms)
    }

    /// Attaches the filter to the interface that now has the name of an attachment, with the active
    /// tables.
    fn attach_again(&mut self, position: usize, request: Mode) -> Result<()> {
        let name = self.attachments[position].interface.clone();
        attach::require(&name)?;
        let program = object::program(&mut self.ebpf)?;
        let mut attachment = attach::attach(program, &name, request, None)?;
        if let Some(pins) = &self.pins {
            attachment.pin(pins.link_path(&name))?;
        }
        self.attachments[position] = attachment;
        Ok(())
    }

    /// The message about an interface name that no longer exists.
    fn missing(&self, position: usize, error: &anyhow::Error) -> String {
        let Attachment { interface, ifindex, .. } = &self.attachments[position];
        match attach::name_of(*ifindex) {
            Some(now) => format!(
                "{interface} is called {now} now, and still filtered; say so in filter.interfaces"
            ),
            None => format!("{error:#}"),
        }
    }
}

/// The interfaces without those whose frames are all judged below them: a VLAN of an interface that
/// is named too, or a bond whose members all are. There each SYN would be judged, counted and held
/// against its source's rate twice.
fn not_covered(interfaces: &[String]) -> Vec<String> {
    let named: Vec<_> =
        interfaces.iter().filter_map(|name| Some((name, attach::index_of(name).ok()?))).collect();
    let is_named = |index: u32| named.iter().any(|(_, known)| *known == index);
    let members = members();
    let covered: Vec<_> = named
        .iter()
        .filter(|(name, index)| {
            let below = stacking(*index).ok().and_then(|stacking| stacking.part_of);
            let own = members.iter().filter(|(_, of)| of == index);
            let own: Vec<_> = own.map(|(member, _)| is_named(*member)).collect();
            let all_are = own.iter().all(|is_named| *is_named);
            let has_members = !own.is_empty();
            if !all_are && own.contains(&true) {
                tracing::warn!(
                    interface = name,
                    "some of its members are filtered too: their SYNs are judged twice; name the \
                     members alone, or this interface alone"
                );
            }
            below.is_some_and(is_named) || has_members && all_are
        })
        .map(|(name, _)| *name)
        .collect();
    for name in &covered {
        tracing::warn!(
            interface = name,
            "not attached: the interface below it is filtered too and judges the same SYNs"
        );
    }
    interfaces.iter().filter(|name| !covered.contains(name)).cloned().collect()
}

/// The members of bonds, teams and bridges, each with the index of its owner.
fn members() -> Vec<(u32, u32)> {
    let Ok(interfaces) = if_nameindex() else { return Vec::new() };
    let member = |interface: &Interface| {
        let index = interface.index();
        Some((index, stacking(index).ok()?.member_of?))
    };
    interfaces.iter().filter_map(member).collect()
}
