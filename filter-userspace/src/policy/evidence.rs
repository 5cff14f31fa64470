//! Who reports that a client's recipients do not exist, and how far that is believed.
//!
//! Each tenant has a backend, and a backend can report anything. The report of one of several is
//! believed for its own domains; to defer the client for everybody, others must have seen the same.

use crate::smtp::session::BackendName;

/// The number of backends that are kept apart for a client; all further ones share the last entry.
const WITNESSES: usize = 16;

/// Who reports that a recipient does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Witness {
    /// The lists of recipients here, or the only backend there is: its reports affect nobody else's
    /// mail.
    #[default]
    Own,
    /// A backend of several.
    Backend(BackendName),
}

/// The reports of one of them about a client in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Guesses {
    /// Recipients that do not exist.
    pub(super) invalid: u32,
    /// Those since the last delivered message.
    pub(super) run: u32,
    /// Recipients of bounces that do not exist.
    pub(super) bounces: u32,
    /// Those for which the client is deferred already. They still support others' reports.
    settled: u32,
}

impl Guesses {
    /// The client is deferred for them.
    pub(super) const fn settle(&mut self) {
        self.settled = self.settled.saturating_add(self.invalid);
        self.invalid = 0;
        self.run = 0;
    }
}

/// The reports of everybody about a client in a window.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence(Vec<(Witness, Guesses)>);

impl Evidence {
    /// Adds a report.
    pub(super) fn of(&mut self, witness: &Witness) -> &mut Guesses {
        let known = self.0.iter().position(|(known, _)| known == witness);
        let place = known.unwrap_or_else(|| {
            if self.0.len() < WITNESSES {
                self.0.push((witness.clone(), Guesses::default()));
            }
            self.0.len() - 1
        });
        &mut self.0[place].1
    }

    /// A message was delivered.
    pub(super) fn deliver(&mut self) {
        for (_, guesses) in &mut self.0 {
            guesses.run = 0;
            guesses.settled = 0;
        }
    }

    /// The bounces are deferred.
    pub(super) fn settle_bounces(&mut self) {
        for (_, guesses) in &mut self.0 {
            guesses.bounces = 0;
        }
    }

    /// The believed numbers of recipients that do not exist: all, and those since the last message.
    pub(super) fn believed(&self) -> (u32, u32) {
        let invalid = self.sum(|guesses| guesses.invalid.saturating_add(guesses.settled));
        (invalid, self.sum(|guesses| guesses.run.saturating_add(guesses.settled)))
    }

    /// The same for bounces.
    pub(super) fn believed_bounces(&self) -> u32 {
        self.sum(|guesses| guesses.bounces)
    }

    /// One backend counts at most as much as all others together: one alone counts nothing, and two
    /// that report the same count in full.
    fn sum(&self, count: impl Fn(&Guesses) -> u32) -> u32 {
        let (mut others, mut most) = (0_u32, 0_u32);
        for (witness, guesses) in &self.0 {
            let mut one = count(guesses);
            if *witness != Witness::Own && one > most {
                std::mem::swap(&mut one, &mut most);
            }
            others = others.saturating_add(one);
        }
        others.saturating_add(most.min(others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn believed(said: &[(&str, u32)]) -> u32 {
        let mut evidence = Evidence::default();
        for (name, count) in said {
            let witness = match *name {
                "" => Witness::Own,
                name => Witness::Backend(name.into()),
            };
            let guesses = evidence.of(&witness);
            (guesses.invalid, guesses.run) = (*count, *count);
        }
        let (invalid, run) = evidence.believed();
        assert_eq!(invalid, run);
        run
    }

    #[test]
    fn one_backend_counts_as_much_as_all_others_together() {
        assert_eq!(believed(&[("", 100)]), 100);
        assert_eq!(believed(&[("a", 1_000)]), 0);
        assert_eq!(believed(&[("a", 50), ("b", 50)]), 100);
        assert_eq!(believed(&[("a", 1_000), ("b", 1)]), 2);
        assert_eq!(believed(&[("b", 1), ("a", 1_000), ("", 30)]), 62);
        assert_eq!(believed(&[("", 70), ("a", 10)]), 80);
        assert_eq!(believed(&[("a", 1), ("b", 1), ("c", 1)]), 3);
    }

    #[test]
    fn however_many_backends_there_are_the_places_are_few() {
        let names: Vec<_> = (0..500).map(|number| format!("b{number}")).collect();
        let mut evidence = Evidence::default();
        for round in 1..=4 {
            for name in &names {
                evidence.of(&Witness::Backend(name.as_str().into())).run += 1;
            }
            assert_eq!(evidence.0.len(), WITNESSES);
            let (_, run) = evidence.believed();
            assert!(run >= 30 * round, "who guesses everywhere is found out: {run} after {round}");
        }
    }
}
