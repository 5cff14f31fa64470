//! What the lists say of an address, for sessions.

use std::sync::{Arc, PoisonError, RwLock};

use filter_common::verdict::decide;
use filter_common::{Class, ClassSet};

use crate::io::smtp::Classify;
use crate::lists::{Classification, EnforcementTable, Lists, Place};
use crate::policy::facts::{Connection, Standing};
use crate::runtime::RuntimeEntries;
use crate::smtp::refusal::{Reason, Rule};

/// What the lists say of addresses, for sessions.
pub fn classify(
    files: Arc<Lists>,
    runtime: Arc<RwLock<RuntimeEntries>>,
    enforcement: EnforcementTable,
) -> Classify {
    Arc::new(move |address| {
        let managed = runtime.read().unwrap_or_else(PoisonError::into_inner).classify(address);
        let said = [managed, files.set.classify(address)];
        standing(&said, enforcement)
    })
}

/// What several sets of lists say of an address together.
#[must_use]
pub fn standing(said: &[Classification], enforcement: EnforcementTable) -> Standing {
    let classes = said.iter().fold(ClassSet::EMPTY, |all, one| all.union(one.classes));
    let decision = decide(classes, |class| enforcement.of(class));
    let country = said.iter().find_map(|one| one.country).map(|country| country.to_string());
    let mut connection = Connection::default();
    if let Some((class, _)) = decision.decided {
        let rule = rule(class, said);
        if class.approves() {
            connection.approved = rule;
        } else if let Some(reason) = refusal(class) {
            connection.refused = Some((reason, rule));
        }
    }
    Standing { connection, country }
}

/// The entry that gives an address its class.
fn rule(class: Class, said: &[Classification]) -> Option<Rule> {
    let matched = said.iter().flat_map(|one| &one.matches).find(|one| one.class == class)?;
    let Place { file, line } = matched.place.clone();
    Some(Rule { source: file, line, entry: matched.prefix.to_string() })
}

/// What SMTP answers to an address that a class blocks. One that is to be dropped
/// is refused as well: its connection may be older than its listing, or the
/// filter may be off.
const fn refusal(class: Class) -> Option<Reason> {
    match class {
        Class::BlockedIp => Some(Reason::BlockedIp),
        Class::BlockedCountry => Some(Reason::BlockedCountry),
        Class::KnownSpamSource => Some(Reason::KnownSpamSource),
        Class::ApprovedIp | Class::ApprovedCountry => None,
    }
}
