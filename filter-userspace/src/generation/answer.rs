//! What the lists say of an address: the answer of `lookup`.

use std::net::IpAddr;

use filter_common::verdict::decide;
use filter_common::{Class, ClassSet, Enforcement, Reason};

use crate::lists::{Answer, Classification, Match};

/// What the kernel should say of a SYN from the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    classes: ClassSet,
    decided: Option<Reason>,
}

impl Expected {
    /// Whether the kernel's answer is the expected one; `blocked_for_a_time` says
    /// whether a temporary block stands against the address.
    #[must_use]
    pub fn agrees(&self, reason: Reason, classes: ClassSet, blocked_for_a_time: bool) -> bool {
        let reason_agrees = match (self.decided, blocked_for_a_time) {
            (Some(decided), _) => reason == decided,
            (None, true) => reason == Reason::TemporaryBlock,
            (None, false) => matches!(reason, Reason::Unlisted | Reason::RateLimit),
        };
        reason_agrees && classes == self.classes
    }
}

/// Puts together what several sets of lists say: runtime entries before files,
/// so that where both list an address in the same class, the change that an
/// operator made is named.
pub fn answer(
    ip: IpAddr,
    said: &[&Classification],
    enforcement: impl Fn(Class) -> Enforcement,
) -> (Answer, Expected) {
    let classes = said.iter().fold(ClassSet::EMPTY, |all, one| all.union(one.classes));
    let decision = decide(classes, &enforcement);
    let (class, action) = match decision.decided {
        Some((class, _)) if class.approves() => (Some(class), "pass"),
        Some((class, _)) => (Some(class), enforcement(class).name()),
        None => match decision.observed.first() {
            Some(class) => (Some(class), Enforcement::Monitor.name()),
            None => (None, "pass"),
        },
    };
    let matched: Option<&Match> = class
        .and_then(|class| said.iter().flat_map(|one| &one.matches).find(|one| one.class == class));
    let country = said.iter().find_map(|one| one.country);
    let answer = Answer {
        ip,
        class: class.map_or("none", Class::name).to_owned(),
        action: action.to_owned(),
        prefix: matched.map(|matched| matched.prefix),
        source: matched.map(|matched| matched.place.to_string()),
        note: matched.and_then(|matched| matched.note.clone()),
        country: country.map(|country| country.to_string()),
        listed: classes.iter().map(|class| class.name().to_owned()).collect(),
    };
    (answer, Expected { classes, decided: decision.decided.map(|(_, reason)| reason) })
}
