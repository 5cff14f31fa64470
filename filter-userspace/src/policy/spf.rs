//! The action on a result of SPF (RFC 7208 section 8), by the recipient's domain.

use ipnet::IpNet;

use crate::smtp::refusal::{Own, Reason, Refusal, Rule};
use crate::spf::{Evaluation, Outcome};

/// The action on a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    #[default]
    Accept,
    /// The message gets a Received-SPF field.
    Tag,
    /// 451, so that the client retries.
    Defer,
    /// 550.
    Refuse,
}

/// The action on each result; a pass is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actions {
    /// The domain has no record.
    pub none: Action,
    /// The domain explicitly states nothing about the client.
    pub neutral: Action,
    /// The client is probably not authorised.
    pub softfail: Action,
    /// The client is not authorised.
    pub fail: Action,
    /// Name servers do not answer.
    pub temperror: Action,
    /// The domain's record is invalid.
    pub permerror: Action,
}

impl Default for Actions {
    fn default() -> Self {
        let accept = Action::Accept;
        Self {
            none: accept,
            neutral: accept,
            softfail: accept,
            fail: Action::Refuse,
            temperror: accept,
            permerror: accept,
        }
    }
}

impl Actions {
    /// The action on a result.
    #[must_use]
    pub const fn of(&self, outcome: Outcome) -> Action {
        match outcome {
            Outcome::Pass => Action::Accept,
            Outcome::None => self.none,
            Outcome::Neutral => self.neutral,
            Outcome::SoftFail => self.softfail,
            Outcome::Fail => self.fail,
            Outcome::TempError => self.temperror,
            Outcome::PermError => self.permerror,
        }
    }
}

/// The SPF settings for all messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpfPolicy {
    /// Clients for which SPF is not checked.
    pub exempt: Vec<IpNet>,
    /// Whether every message gets a Received-SPF field.
    pub header: bool,
    /// Whether the reply includes the domain's own explanation of a fail (exp=).
    pub explanation: bool,
}

impl SpfPolicy {
    /// The refusal of a message with this evaluation, if there is one. `rule` is the configuration
    /// of the recipient's domain, and `approved` what approves the client: that excuses its
    /// address, and not the sender that it claims.
    #[must_use]
    pub fn refusal(
        &self,
        actions: &Actions,
        evaluation: &Evaluation,
        rule: Rule,
        approved: Option<&Rule>,
    ) -> Option<Refusal> {
        let reason = match actions.of(evaluation.outcome) {
            Action::Accept | Action::Tag => return None,
            Action::Defer => Reason::SpfDeferred,
            Action::Refuse => Reason::SpfRefused,
        };
        let name = evaluation.outcome.name();
        let mut entry = format!("{name}: {}", evaluation.summary());
        if let Some(approved) = approved {
            entry.push_str(&format!(
                "; {approved} approves the client, which does not excuse SPF: spf.exempt does, for \
                 forwarders"
            ));
        }
        let rule = Rule { entry, ..rule };
        let explained = evaluation.explanation.clone().filter(|_| self.explanation);
        let subject = format!("{} for {}", evaluation.client, evaluation.domain);
        let refusal = Refusal::by(reason, subject, Some(rule));
        Some(refusal.saying(Own { more: explained, ..Own::default() }))
    }

    /// Whether a message with this evaluation gets a Received-SPF field.
    #[must_use]
    pub fn tags(&self, actions: &Actions, evaluation: &Evaluation) -> bool {
        self.header || actions.of(evaluation.outcome) == Action::Tag
    }
}
