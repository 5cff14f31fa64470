//! What the lists say of an address, for people and scripts: the answer of `lookup`.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// What is known of an address, from the lists alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The address.
    pub ip: IpAddr,
    /// The class that decides: `approved_ip`, `blocked_ip`, `approved_country`,
    /// `blocked_country`, `known_spam_source` or `none`. A class that is only
    /// monitored is named where no other decides.
    pub class: String,
    /// What becomes of a SYN: `pass`, `drop`, `reject` (admitted, and SMTP
    /// answers 550) or `monitor` (counted and passed).
    pub action: String,
    /// The listed prefix that decides; the most specific of its class.
    pub prefix: Option<IpNet>,
    /// Where it is listed: `file:line`, or the country database.
    pub source: Option<String>,
    /// The note beside it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// The ISO 3166-1 alpha-2 code of its country.
    pub country: Option<String>,
    /// Every class whose lists name it, in hierarchy order.
    pub listed: Vec<String>,
}

impl Answer {
    /// What to say of a block that has no effect, or less than it seems to, because an
    /// approval goes first. The answer is about the first address of what is blocked.
    #[must_use]
    pub fn approved_first(&self, blocked: IpNet) -> Option<String> {
        if self.action != "pass" || !self.class.starts_with("approved_") {
            return None;
        }
        let Self { ip, class, prefix, source, .. } = self;
        let source = source.as_ref().map_or_else(String::new, |source| format!(" ({source})"));
        Some(match prefix {
            Some(approved) if approved.contains(&blocked) => format!(
                "blocking {blocked} has no effect: it is approved by {approved}{source}, and \
                 approvals come first"
            ),
            Some(approved) => format!(
                "{ip} is still admitted: it is approved by {approved}{source}, and approvals come \
                 first"
            ),
            None => {
                let class = class.replace('_', " ");
                format!("{ip} is still admitted: {class}{source} comes first")
            }
        })
    }
}
