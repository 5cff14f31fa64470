//! What is not wrong in a configuration, but may not be meant.

use filter_common::{Class, Enforcement};

use super::keys::web::Web;
use super::whole::Config;
use crate::lists::UnknownCountry;

impl Config {
    /// What is not wrong, but may not be meant; a line of text each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.warnings_of_enforcement();
        if self.web.as_ref().is_some_and(Web::lets_nobody_in) {
            warnings.push(format!(
                "{}: web: nobody can use the console: there is no [[web.tokens]]; `mxdp token \
                 NAME` makes a token and prints its table",
                self.path.display()
            ));
        }
        warnings
    }

    fn warnings_of_enforcement(&self) -> Vec<String> {
        let file = self.path.display();
        // A listener answers what the filter admits.
        if self.smtp.is_some() {
            let ignored = format!(
                "{file}: reputation.ers_compatible is set and there is no standard reputation: \
                 blocked addresses and countries are counted, and let in"
            );
            return self.ignores_blocked.then_some(ignored).into_iter().collect();
        }
        let has = |class| {
            self.lists.iter().any(|list| list.class == class)
                || self.inline.iter().any(|entry| entry.class == class)
        };
        let in_use = [
            (Class::BlockedIp, has(Class::BlockedIp)),
            (
                Class::BlockedCountry,
                !self.countries.blocked.is_empty()
                    || self.countries.unknown == UnknownCountry::Block,
            ),
            (Class::KnownSpamSource, has(Class::KnownSpamSource)),
        ];
        in_use
            .into_iter()
            .filter(|(class, used)| *used && self.enforcement.of(*class) == Enforcement::Reject)
            .map(|(class, _)| {
                format!(
                    "{file}: enforcement.{} is \"reject\", which admits the SYN for an SMTP stage \
                     to answer 550; without [listen] nothing answers: \"drop\" closes the door",
                    class.name()
                )
            })
            .collect()
    }
}
