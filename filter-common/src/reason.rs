//! Why a frame was passed or dropped: one closed set for kernel and daemon.

use crate::class::{Class, Enforcement};

/// The fate of a frame. There are only these two: the kernel program neither aborts nor rewrites
/// nor redirects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// The frame goes to the host's stack.
    Pass,
    /// The frame is dropped.
    Drop,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident = $code:literal, $name:literal, $disposition:ident;)*) => {
        /// Why a frame was passed or dropped. Every frame has exactly one reason; the three
        /// `…Monitor` reasons are counted in addition.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[doc = $doc])* $variant = $code,)*
        }

        impl Reason {
            /// Every reason, in the order of the codes.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant,)*];

            /// The number of reasons; codes run from 0 to one less.
            pub const COUNT: usize = [$($code,)*].len();

            /// The name used in output, events and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Its meaning, for the reference.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),*),)* }
            }

            /// Whether the frame passes or is dropped.
            #[must_use]
            pub const fn disposition(self) -> Disposition {
                match self { $(Self::$variant => Disposition::$disposition,)* }
            }

            /// The reason of a code, as read from a map or an event.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    /// Neither IPv4 nor IPv6, below at most two VLAN tags and a PPPoE session.
    NotIp = 0, "not_ip", Pass;
    /// IP, but not TCP.
    NotTcp = 1, "not_tcp", Pass;
    /// TCP, but not an initial SYN.
    NotSyn = 2, "not_syn", Pass;
    /// An initial SYN to a port that is not protected.
    OtherPort = 3, "other_port", Pass;
    /// A fragment without the transport header.
    LaterFragment = 4, "later_fragment", Pass;
    /// A frame that ends inside a header or whose header contradicts itself;
    /// the host's stack discards it.
    Malformed = 5, "malformed", Pass;
    /// No rule set is installed: the filter is open.
    NoTables = 6, "no_tables", Pass;
    /// On an approved IP list.
    ApprovedIp = 7, "approved_ip", Pass;
    /// In an approved country.
    ApprovedCountry = 8, "approved_country", Pass;
    /// Neither a list nor a later check decided.
    Unlisted = 9, "unlisted", Pass;
    /// On a blocked IP list whose enforcement is `reject`.
    BlockedIpReject = 10, "blocked_ip_reject", Pass;
    /// In a blocked country whose enforcement is `reject`.
    BlockedCountryReject = 11, "blocked_country_reject", Pass;
    /// A known spam source whose enforcement is `reject`.
    KnownSpamSourceReject = 12, "known_spam_source_reject", Pass;
    /// On a blocked IP list that is only monitored; counted in addition to the verdict.
    BlockedIpMonitor = 13, "blocked_ip_monitor", Pass;
    /// In a blocked country that is only monitored; counted in addition to the verdict.
    BlockedCountryMonitor = 14, "blocked_country_monitor", Pass;
    /// A known spam source that is only monitored; counted in addition to the verdict.
    KnownSpamSourceMonitor = 15, "known_spam_source_monitor", Pass;
    /// On a blocked IP list.
    BlockedIp = 16, "blocked_ip", Drop;
    /// In a blocked country.
    BlockedCountry = 17, "blocked_country", Drop;
    /// A known spam source.
    KnownSpamSource = 18, "known_spam_source", Drop;
    /// Under a temporary block that has not expired.
    TemporaryBlock = 19, "temporary_block", Drop;
    /// Over the SYN rate limit of one source.
    RateLimit = 20, "rate_limit", Drop;
    /// A first fragment too short to hold its whole TCP header (RFC 1858).
    FragmentTooShort = 21, "fragment_too_short", Drop;
    /// An IPv4 TCP fragment at offset 1, which could overwrite the flags of the first (RFC 1858
    /// section 4).
    FragmentOffsetOne = 22, "fragment_offset_one", Drop;
    /// More IPv6 extension headers than are parsed.
    ExtensionChain = 23, "extension_chain", Drop;
    /// More VLAN tags than are parsed; Linux removes any number of priority tags.
    VlanChain = 24, "vlan_chain", Drop;
    /// A packet inside a segment routing header (RFC 8754, RFC 6554), which Linux unpacks if
    /// `seg6_enabled` or `rpl_seg_enabled` is set.
    SegmentRouting = 25, "segment_routing", Drop;
}

impl Reason {
    /// The reason of a class that decided under `enforcement`.
    #[must_use]
    pub const fn of_class(class: Class, enforcement: Enforcement) -> Self {
        match (class, enforcement) {
            (Class::ApprovedIp, _) => Self::ApprovedIp,
            (Class::ApprovedCountry, _) => Self::ApprovedCountry,
            (Class::BlockedIp, Enforcement::Drop) => Self::BlockedIp,
            (Class::BlockedIp, Enforcement::Reject) => Self::BlockedIpReject,
            (Class::BlockedIp, Enforcement::Monitor) => Self::BlockedIpMonitor,
            (Class::BlockedCountry, Enforcement::Drop) => Self::BlockedCountry,
            (Class::BlockedCountry, Enforcement::Reject) => Self::BlockedCountryReject,
            (Class::BlockedCountry, Enforcement::Monitor) => Self::BlockedCountryMonitor,
            (Class::KnownSpamSource, Enforcement::Drop) => Self::KnownSpamSource,
            (Class::KnownSpamSource, Enforcement::Reject) => Self::KnownSpamSourceReject,
            (Class::KnownSpamSource, Enforcement::Monitor) => Self::KnownSpamSourceMonitor,
        }
    }

    /// Whether the reason is counted beside a verdict instead of being one.
    #[must_use]
    pub const fn is_observation(self) -> bool {
        matches!(
            self,
            Self::BlockedIpMonitor | Self::BlockedCountryMonitor | Self::KnownSpamSourceMonitor
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_dense_and_come_back() {
        for (code, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, code);
            assert_eq!(Reason::from_code(reason as u8), Some(reason));
        }
        assert_eq!(Reason::from_code(u8::MAX), None);
    }

    #[test]
    fn an_approved_class_passes_under_any_enforcement() {
        for class in Class::ALL {
            for enforcement in [Enforcement::Drop, Enforcement::Reject, Enforcement::Monitor] {
                let reason = Reason::of_class(class, enforcement);
                let drops = !class.approves() && enforcement == Enforcement::Drop;
                assert_eq!(reason.disposition() == Disposition::Drop, drops);
                assert_eq!(
                    reason.is_observation(),
                    !class.approves() && enforcement == Enforcement::Monitor
                );
            }
        }
    }
}
