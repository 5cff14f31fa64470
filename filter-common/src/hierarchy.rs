//! The hierarchy of classes: which list decides where several name an address.

use crate::class::{Class, ClassSet, Enforcement};
use crate::reason::Reason;

/// The lists' decision on an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The first class that decides, and the reason.
    pub decided: Option<(Class, Reason)>,
    /// The monitored classes that matched before it.
    pub observed: ClassSet,
}

/// Walks the hierarchy: the first class that is not merely monitored decides. A monitored class is
/// counted and hides nothing below it.
#[must_use]
pub fn decide(classes: ClassSet, enforcement: impl Fn(Class) -> Enforcement) -> Decision {
    let mut observed = ClassSet::EMPTY;
    if classes.is_empty() {
        return Decision { decided: None, observed };
    }
    for class in Class::ALL {
        if !classes.contains(class) {
            continue;
        }
        let reason = Reason::of_class(class, enforcement(class));
        if reason.is_observation() {
            observed = observed.with(class);
        } else {
            return Decision { decided: Some((class, reason)), observed };
        }
    }
    Decision { decided: None, observed }
}
