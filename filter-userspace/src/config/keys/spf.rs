//! `[spf]` and `[domain.spf]`: what results of SPF do.

use std::time::Duration;

use ipnet::IpNet;

use crate::config::section::key::{Chapter, Key, keys};
use crate::config::section::{Section, Unit};
use crate::config::values::read_networks;
use crate::policy::spf::{Action, Actions};

/// What the reference says of this section.
pub(in crate::config) const CHAPTER: Chapter = Chapter {
    title: "SPF",
    sections: &["spf", "domain.spf"],
    before: "SPF is checked where there is a section `[spf]`: of the sender's domain, or of the\n\
             client's own name for the null sender. `mxdp spf` shows an evaluation as a tree.",
    after: "",
};

/// The section.
pub(in crate::config) const SECTION: Key = Key::table("spf");

keys! {
    /// Action if the result is fail. `accept` does nothing; `tag` adds a Received-SPF field;
    /// `defer` is 451 4.7.24; `refuse` is 550 5.7.23
    live FAIL = "fail";
    /// Action if the result is softfail
    live SOFTFAIL = "softfail";
    /// Action if the result is neutral
    live NEUTRAL = "neutral";
    /// Action if the domain has no SPF record
    live NONE = "none";
    /// Action if name servers do not answer (temperror)
    live TEMPERROR = "temperror";
    /// Action if the SPF record is invalid (permerror)
    live PERMERROR = "permerror";
    /// Clients that SPF is not checked for, such as forwarders
    live EXEMPT = "exempt";
    /// Whether every message gets a Received-SPF field
    live RECEIVED_SPF = "received_spf";
    /// Whether replies contain what the sender's domain says about a fail (`exp=`)
    live EXPLANATION = "explanation";
    /// Time limit for all answers about a message; after it the result is temperror
    live BUDGET_MS = "budget_ms";
    /// SPF for recipients of these domains
    live DOMAIN_SPF = "spf";
    /// Whether SPF is checked for these domains
    live CHECK = "check";
}

/// SPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spf {
    /// What each result does, where the domain says nothing else.
    pub actions: Actions,
    /// Clients that it is not checked of.
    pub exempt: Vec<IpNet>,
    /// Whether every message gets a Received-SPF field.
    pub header: bool,
    /// Whether replies have what the sender's domain says of a fail.
    pub explanation: bool,
    /// The time for all answers of DNS about a message.
    pub budget: Duration,
}

/// Reads `[spf]`; none without the section.
pub(in crate::config) fn read(section: Section<'_>) -> Option<Spf> {
    let is_there = section.is_there();
    let spf = Spf {
        actions: read_actions(&section, Actions::default()),
        exempt: read_networks(&section, EXEMPT),
        header: section.boolean(RECEIVED_SPF, false),
        explanation: section.boolean(EXPLANATION, false),
        budget: section.duration(BUDGET_MS, Unit::Milliseconds, 50..=120_000, 20_000),
    };
    section.finish();
    is_there.then_some(spf)
}

/// What results do for one domain; none where SPF is not checked for it.
pub(in crate::config) fn read_domain_spf(
    section: Section<'_>,
    all: Option<&Spf>,
) -> Option<Actions> {
    if section.is_there() && all.is_none() {
        section.missing(CHECK, "needs a section [spf]");
    }
    section.describe(CHECK, "", "");
    for result in [FAIL, SOFTFAIL, NEUTRAL, NONE, TEMPERROR, PERMERROR] {
        section.describe(result, "", &format!("as `spf.{}`", result.name));
    }
    let checked = section.boolean(CHECK, true);
    let actions = read_actions(&section, all.map(|all| all.actions).unwrap_or_default());
    section.finish();
    (checked && all.is_some()).then_some(actions)
}

fn read_actions(section: &Section<'_>, default: Actions) -> Actions {
    let action = |key: Key, default| {
        let choices = [
            ("accept", Action::Accept),
            ("tag", Action::Tag),
            ("defer", Action::Defer),
            ("refuse", Action::Refuse),
        ];
        section.choice(key, &choices, default)
    };
    Actions {
        none: action(NONE, default.none),
        neutral: action(NEUTRAL, default.neutral),
        softfail: action(SOFTFAIL, default.softfail),
        fail: action(FAIL, default.fail),
        temperror: action(TEMPERROR, default.temperror),
        permerror: action(PERMERROR, default.permerror),
    }
}
